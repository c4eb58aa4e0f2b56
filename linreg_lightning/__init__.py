"""Linear regression on PyTorch Lightning: by hand, by SGD, and exactly.

The way of a row, and where to read about each part of it:

    data        SyntheticData, TensorData, TabularData: where rows come from
    batch       Batch(x, y, weight): what passes from data to models
    models      LinearRegression, ManualLinearRegression, LeastSquares: what is fitted, and how
    callbacks   what watches a run: the table of coefficients, their curves, predictions
    loop        TightLoop: the Trainer at the speed of a loop by hand
    logger      RunLogger: TensorBoard
    cli         the `linreg` command
    manual      the tutorial's raw loops, torch alone
    algebra     mathematics on tensors
    errors      InputError: what a user can put right

>>> from linreg_lightning import LinearRegression, SyntheticData, Trainer
>>> model = LinearRegression()
>>> Trainer(max_epochs=100, barebones=True).fit(model, SyntheticData(noise=0.0))
>>> [round(row["estimate"], 3) for row in model.coefficients()]
[1.0, 2.0, 3.0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from linreg_lightning.batch import Batch
    from linreg_lightning.data import RegressionDataModule, SyntheticData, TabularData, TensorData
    from linreg_lightning.errors import InputError
    from linreg_lightning.logger import RunLogger
    from linreg_lightning.models import (
        LeastSquares,
        LinearRegression,
        ManualLinearRegression,
        RegressionModule,
        SupervisedModule,
    )
    from linreg_lightning.tight_loop import TightLoop
    from linreg_lightning.tutorial import gradient_descent, gradient_descent_nn

__version__ = "0.1.0"

# Names are imported when they are used: the tutorial needs no Lightning, `linreg --help` no torch.
_HOMES = {
    "Batch": "linreg_lightning.batch",
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
}

__all__ = [
    "Batch",
    "InputError",
    "LeastSquares",
    "LinearRegression",
    "ManualLinearRegression",
    "RegressionDataModule",
    "RegressionModule",
    "RunLogger",
    "SupervisedModule",
    "SyntheticData",
    "TabularData",
    "TensorData",
    "TightLoop",
    "Trainer",
    "gradient_descent",
    "gradient_descent_nn",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
