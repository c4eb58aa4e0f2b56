"""What observes a run: one callback a file."""

from linreg_lightning.callbacks.custom_scalars import CustomScalars
from linreg_lightning.callbacks.descent_monitor import DescentMonitor
from linreg_lightning.callbacks.fit_monitor import FitMonitor
from linreg_lightning.callbacks.fit_plots import FitPlots
from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.peer_monitor import PeerMonitor
from linreg_lightning.callbacks.prediction_writer import PredictionWriter
from linreg_lightning.callbacks.run_progress_bar import RunProgressBar
from linreg_lightning.callbacks.run_summary import RunSummary
from linreg_lightning.callbacks.validation_record import ValidationRecord

__all__ = [
    "CustomScalars",
    "DescentMonitor",
    "FitMonitor",
    "FitPlots",
    "LogInterval",
    "PeerMonitor",
    "PredictionWriter",
    "RunProgressBar",
    "RunSummary",
    "ValidationRecord",
]
