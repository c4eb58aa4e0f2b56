"""Models: one LightningModule a file."""

from linreg_lightning.models.mlp import MLP
from linreg_lightning.models.supervised import SupervisedModule

__all__ = ["MLP", "SupervisedModule"]
