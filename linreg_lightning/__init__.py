"""Linear regression on PyTorch Lightning: by hand, by SGD, and exactly.

`README.md` beside this file follows a row through the package and says what each folder holds.

>>> from linreg_lightning import LinearRegression, SyntheticData, Trainer
>>> model = LinearRegression()
>>> Trainer(max_epochs=100, barebones=True).fit(model, SyntheticData(noise=0.0))
>>> [round(row["estimate"], 3) for row in model.coefficients()]
[1.0, 2.0, 3.0]
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `X as X` tells type checkers that X is public
    from lightning.pytorch import Trainer as Trainer

    from linreg_lightning.algebra import (
        Fit as Fit,
        GroupedFit as GroupedFit,
        Selection as Selection,
        compare as compare,
        grouped_least_squares as grouped_least_squares,
        least_squares as least_squares,
        select_penalty as select_penalty,
    )
    from linreg_lightning.batch import Batch as Batch, FoldBatch as FoldBatch
    from linreg_lightning.checkpoint_io import AtomicCheckpointIO as AtomicCheckpointIO
    from linreg_lightning.data import (
        RegressionDataModule as RegressionDataModule,
        SupervisedDataModule as SupervisedDataModule,
        SyntheticData as SyntheticData,
        TabularData as TabularData,
        TensorData as TensorData,
    )
    from linreg_lightning.errors import InputError as InputError
    from linreg_lightning.estimator import LinearRegressor as LinearRegressor
    from linreg_lightning.estimator_selection import RegularizedRegressor as RegularizedRegressor
    from linreg_lightning.logger import RunLogger as RunLogger
    from linreg_lightning.metrics import RegressionMetrics as RegressionMetrics
    from linreg_lightning.models import (
        LeastSquares as LeastSquares,
        LinearRegression as LinearRegression,
        ManualLinearRegression as ManualLinearRegression,
        RegressionModule as RegressionModule,
        RegularizedLeastSquares as RegularizedLeastSquares,
        StandardizedModule as StandardizedModule,
        SupervisedModule as SupervisedModule,
        TableModule as TableModule,
    )
    from linreg_lightning.tight_loop import TightLoop as TightLoop
    from linreg_lightning.tutorial import (
        gradient_descent as gradient_descent,
        gradient_descent_nn as gradient_descent_nn,
    )

__version__ = "0.1.0"

# Names are imported when they are used: the tutorial needs no Lightning, `linreg --help` no torch.
_NAMES = {
    "lightning.pytorch": "Trainer",
    "linreg_lightning.algebra": "Fit GroupedFit Selection compare grouped_least_squares"
    " least_squares select_penalty",
    "linreg_lightning.batch": "Batch FoldBatch",
    "linreg_lightning.checkpoint_io": "AtomicCheckpointIO",
    "linreg_lightning.data": "RegressionDataModule SupervisedDataModule SyntheticData TabularData"
    " TensorData",
    "linreg_lightning.errors": "InputError",
    "linreg_lightning.estimator": "LinearRegressor",
    "linreg_lightning.estimator_selection": "RegularizedRegressor",
    "linreg_lightning.logger": "RunLogger",
    "linreg_lightning.metrics": "RegressionMetrics",
    "linreg_lightning.models": "LeastSquares LinearRegression ManualLinearRegression"
    " RegressionModule RegularizedLeastSquares StandardizedModule SupervisedModule TableModule",
    "linreg_lightning.tight_loop": "TightLoop",
    "linreg_lightning.tutorial": "gradient_descent gradient_descent_nn",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

# `from linreg_lightning import *` works without scikit-learn too.
_ESTIMATORS = {"LinearRegressor", "RegularizedRegressor"}
__all__ = sorted(_HOMES.keys() - (_ESTIMATORS if find_spec("sklearn") is None else set()))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
