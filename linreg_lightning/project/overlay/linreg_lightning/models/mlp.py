"""YOUR MODEL GOES HERE: a multilayer perceptron to replace."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.batch import Batch
from linreg_lightning.metrics.regression import weighted_mse_loss
from linreg_lightning.models.standardized import StandardizedModule
from linreg_lightning.validation import check_argument


@final
class MLP(StandardizedModule):
    """Linear, ReLU, linear on standardised columns; Adam on the mean squared error.

    Args:
        hidden: the number of hidden units.
        lr: Adam's learning rate.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter is outside its range.
    """

    def __init__(
        self,
        hidden: int = 64,
        lr: float = 0.01,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        check_argument("hidden", hidden, hidden >= 1, "a whole number above 0")
        check_argument("lr", lr, 0 < lr < math.inf, "a number above 0, such as 0.01")
        self.hidden, self.lr = hidden, lr
        super().__init__(in_features, out_features)
        self.save_hyperparameters()

    def build(self, in_features: int, out_features: int) -> None:
        """Make the layers."""
        super().build(in_features, out_features)
        self.layers = nn.Sequential(
            nn.Linear(in_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""
        z = self.layers(self.standardization(x).to(self.dtype))
        return self.standardization.unscale_target(z)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error of one batch, with row weights in units of their mean."""
        batch = self.validate_batch(batch)
        weight = batch.y.new_ones(batch.rows) if batch.weight is None else batch.weight
        loss = weighted_mse_loss(self(batch.x), batch.y, weight / self.mean_weight)
        self.log("train_loss", loss, prog_bar=True, batch_size=batch.rows)
        return self.scale_loss(loss, batch.rows)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
