"""What is fitted: one LightningModule a file."""

from linreg_lightning.models.least_squares import LeastSquares
from linreg_lightning.models.linear import LinearRegression
from linreg_lightning.models.manual import ManualLinearRegression
from linreg_lightning.models.regression import RegressionModule
from linreg_lightning.models.supervised import SupervisedModule

__all__ = [
    "LeastSquares",
    "LinearRegression",
    "ManualLinearRegression",
    "RegressionModule",
    "SupervisedModule",
]
