"""What watches a run: one callback a file."""

from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.prediction_writer import PredictionWriter

__all__ = ["LogInterval", "PredictionWriter"]
