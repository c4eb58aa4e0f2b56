"""What watches a run: one callback a file."""

from linreg_lightning.callbacks.coefficient_file import CoefficientFile
from linreg_lightning.callbacks.coefficient_monitor import CoefficientMonitor
from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.prediction_writer import PredictionWriter

__all__ = ["CoefficientFile", "CoefficientMonitor", "LogInterval", "PredictionWriter"]
