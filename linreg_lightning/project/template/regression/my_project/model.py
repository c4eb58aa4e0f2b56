"""The model: a network that predicts a number."""

import linreg_lightning as ll
import torch
from linreg_lightning.validation import check_argument
from torch import Tensor, nn
from torch.nn import functional as F


class Regressor(ll.StandardizedModule):
    """Linear, ReLU, linear on standardised columns; Adam on the mean squared error.

    Args:
        hidden: hidden units.
        lr: Adam's learning rate.
    """

    def __init__(self, hidden: int = 32, lr: float = 0.01) -> None:
        check_argument("hidden", hidden, hidden >= 1, "a whole number above 0")
        check_argument("lr", lr, lr > 0, "a number above 0")
        super().__init__()
        self.save_hyperparameters()
        self.hidden, self.lr = hidden, lr

    def build(self, in_features: int, out_features: int) -> None:
        """Make the layers, as soon as the numbers of columns of x and y are known."""
        super().build(in_features, out_features)
        self.layers = nn.Sequential(
            nn.Linear(in_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the target's own units, (rows, targets), for x, (rows, features)."""
        z = self.layers(self.standardized(x))
        return self.standardization.unscale_target(z)

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The loss of each row, (rows,); a training step takes their mean."""
        return F.mse_loss(prediction, y, reduction="none").mean(dim=1)

    def make_metrics(self) -> ll.RegressionMetrics:
        """RMSE, MAE and R2, of training, validation and test rows."""
        return ll.RegressionMetrics(len(self.target_names))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)
