"""Data: one LightningDataModule a file."""

from linreg_lightning.data.base import RegressionDataModule
from linreg_lightning.data.loader import BatchLoader
from linreg_lightning.data.tabular import TabularData
from linreg_lightning.data.tensors import TensorData
from linreg_lightning.data.waves import Waves

__all__ = ["BatchLoader", "RegressionDataModule", "TabularData", "TensorData", "Waves"]
