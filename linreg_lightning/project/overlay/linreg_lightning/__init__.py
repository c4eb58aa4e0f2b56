"""A model on PyTorch Lightning.

The way of a row, and the module of each part:

    data        Waves, TabularData, TensorData: the rows
    batch       Batch(x, y, weight): what data pass to models
    models      MLP: the model
    callbacks   what observes a run
    logger      RunLogger: TensorBoard
    cli         the `linreg` command
    errors      InputError: the exception for bad input
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linreg_lightning.batch import Batch
    from linreg_lightning.data import RegressionDataModule, TabularData, TensorData, Waves
    from linreg_lightning.errors import InputError
    from linreg_lightning.logger import RunLogger
    from linreg_lightning.models import MLP, SupervisedModule

__version__ = "0.1.0"

# Names are imported on first use: `linreg --help` needs no torch.
_HOMES = {
    "MLP": "linreg_lightning.models",
    "Batch": "linreg_lightning.batch",
    "InputError": "linreg_lightning.errors",
    "RegressionDataModule": "linreg_lightning.data",
    "RunLogger": "linreg_lightning.logger",
    "SupervisedModule": "linreg_lightning.models",
    "TabularData": "linreg_lightning.data",
    "TensorData": "linreg_lightning.data",
    "Waves": "linreg_lightning.data",
}

__all__ = [
    "MLP",
    "Batch",
    "InputError",
    "RegressionDataModule",
    "RunLogger",
    "SupervisedModule",
    "TabularData",
    "TensorData",
    "Waves",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
