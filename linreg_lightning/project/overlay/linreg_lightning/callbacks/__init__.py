"""What watches a run: one callback a file."""

from linreg_lightning.callbacks.chart_layout import ChartLayout
from linreg_lightning.callbacks.descent_monitor import DescentMonitor
from linreg_lightning.callbacks.figures import Figures
from linreg_lightning.callbacks.fit_monitor import FitMonitor
from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.prediction_writer import PredictionWriter
from linreg_lightning.callbacks.run_progress_bar import RunProgressBar
from linreg_lightning.callbacks.run_text import RunText

__all__ = [
    "ChartLayout",
    "DescentMonitor",
    "Figures",
    "FitMonitor",
    "LogInterval",
    "PredictionWriter",
    "RunProgressBar",
    "RunText",
]
