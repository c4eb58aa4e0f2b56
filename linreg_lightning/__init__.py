"""Linear regression on PyTorch Lightning: by hand, by SGD, and exactly.

`README.md` beside this file follows a row through the package and says what each folder holds.

>>> from linreg_lightning import LinearRegression, SyntheticData, Trainer
>>> model = LinearRegression()
>>> Trainer(max_epochs=100, barebones=True).fit(model, SyntheticData(noise=0.0))
>>> [round(row["estimate"], 3) for row in model.coefficients()]
[1.0, 2.0, 3.0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `X as X` tells type checkers that X is public
    from lightning.pytorch import Trainer as Trainer

    from linreg_lightning.algebra import Fit as Fit
    from linreg_lightning.algebra import least_squares as least_squares
    from linreg_lightning.batch import Batch as Batch
    from linreg_lightning.checkpoint_io import AtomicCheckpointIO as AtomicCheckpointIO
    from linreg_lightning.data import RegressionDataModule as RegressionDataModule
    from linreg_lightning.data import SyntheticData as SyntheticData
    from linreg_lightning.data import TabularData as TabularData
    from linreg_lightning.data import TensorData as TensorData
    from linreg_lightning.errors import InputError as InputError
    from linreg_lightning.logger import RunLogger as RunLogger
    from linreg_lightning.models import LeastSquares as LeastSquares
    from linreg_lightning.models import LinearRegression as LinearRegression
    from linreg_lightning.models import ManualLinearRegression as ManualLinearRegression
    from linreg_lightning.models import RegressionModule as RegressionModule
    from linreg_lightning.models import SupervisedModule as SupervisedModule
    from linreg_lightning.tight_loop import TightLoop as TightLoop
    from linreg_lightning.tutorial import gradient_descent as gradient_descent
    from linreg_lightning.tutorial import gradient_descent_nn as gradient_descent_nn

__version__ = "0.1.0"

# Names are imported when they are used: the tutorial needs no Lightning, `linreg --help` no torch.
_HOMES = {
    "AtomicCheckpointIO": "linreg_lightning.checkpoint_io",
    "Batch": "linreg_lightning.batch",
    "Fit": "linreg_lightning.algebra",
    "InputError": "linreg_lightning.errors",
    "LeastSquares": "linreg_lightning.models",
    "LinearRegression": "linreg_lightning.models",
    "ManualLinearRegression": "linreg_lightning.models",
    "RegressionDataModule": "linreg_lightning.data",
    "RegressionModule": "linreg_lightning.models",
    "RunLogger": "linreg_lightning.logger",
    "SupervisedModule": "linreg_lightning.models",
    "SyntheticData": "linreg_lightning.data",
    "TabularData": "linreg_lightning.data",
    "TensorData": "linreg_lightning.data",
    "TightLoop": "linreg_lightning.tight_loop",
    "Trainer": "lightning.pytorch",
    "gradient_descent": "linreg_lightning.tutorial",
    "gradient_descent_nn": "linreg_lightning.tutorial",
    "least_squares": "linreg_lightning.algebra",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
