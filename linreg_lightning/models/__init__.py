"""What is fitted: one LightningModule a file."""

from linreg_lightning.models.base import RegressionModule
from linreg_lightning.models.linear import LinearRegression
from linreg_lightning.models.manual import ManualLinearRegression

__all__ = ["LinearRegression", "ManualLinearRegression", "RegressionModule"]
