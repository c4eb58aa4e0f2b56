"""Lightning callbacks, one a file, each file named after its class.

To add a callback, write its class in a file of its own and list it here. `Trainer(callbacks=[...])`
and `--trainer.callbacks` then accept it; to use it in each run of a command, add it to
`CALLBACKS` in `cli/default_callbacks.py`. What a callback asks of models and data is in
`protocols.py`; `regression_figures.py`, `selection_figures.py`, `diagnostic_figures.py`,
`row_sampler.py` and `tensorboard.py` hold helpers.
"""

from linreg_lightning.callbacks.coefficient_file import CoefficientFile as CoefficientFile
from linreg_lightning.callbacks.coefficient_monitor import CoefficientMonitor as CoefficientMonitor
from linreg_lightning.callbacks.custom_scalars import CustomScalars as CustomScalars
from linreg_lightning.callbacks.descent_monitor import DescentMonitor as DescentMonitor
from linreg_lightning.callbacks.fit_monitor import FitMonitor as FitMonitor
from linreg_lightning.callbacks.fit_plots import FitPlots as FitPlots
from linreg_lightning.callbacks.log_interval import LogInterval as LogInterval
from linreg_lightning.callbacks.peer_monitor import PeerMonitor as PeerMonitor
from linreg_lightning.callbacks.penalty_path import PenaltyPath as PenaltyPath
from linreg_lightning.callbacks.prediction_writer import PredictionWriter as PredictionWriter
from linreg_lightning.callbacks.random_state import RandomState as RandomState
from linreg_lightning.callbacks.run_checkpoint import RunCheckpoint as RunCheckpoint
from linreg_lightning.callbacks.run_progress_bar import RunProgressBar as RunProgressBar
from linreg_lightning.callbacks.run_summary import RunSummary as RunSummary
from linreg_lightning.callbacks.validation_record import ValidationRecord as ValidationRecord
