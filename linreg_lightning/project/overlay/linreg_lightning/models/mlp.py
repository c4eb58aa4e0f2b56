"""YOUR MODEL GOES HERE: a multilayer perceptron to replace."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.standardization import Standardization
from linreg_lightning.errors import InputError
from linreg_lightning.metrics.regression import weighted_mean_square
from linreg_lightning.models.supervised import SupervisedModule


@final
class MLP(SupervisedModule):
    """Linear, ReLU, linear on standardised columns; Adam on the mean squared error.

    Args:
        hidden: the number of hidden units.
        lr: Adam's learning rate.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter outside its range.
    """

    mean_weight: Tensor

    def __init__(
        self,
        hidden: int = 64,
        lr: float = 0.01,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        if hidden < 1:
            raise InputError(f"hidden: {hidden} was given; type a whole number above 0")
        if not 0 < lr < float("inf"):
            raise InputError(f"lr: {lr} was given; type a number above 0, such as 0.01")
        self.hidden = hidden
        super().__init__(in_features, out_features)
        self.save_hyperparameters()

    def build(self, in_features: int, out_features: int) -> None:
        """Make the layers and the standardisation of the columns."""
        self.layers = nn.Sequential(
            nn.Linear(in_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, out_features)
        )
        self.standardization = Standardization(in_features, out_features)
        self.register_buffer("mean_weight", torch.ones((), dtype=torch.float64))

    def on_train_start(self) -> None:
        """Take the scale of the columns and the mean weight from the training rows."""
        if self.trainer.ckpt_path is None:
            moments, rows = self.training_moments()
            self.standardization.fit(moments, intercept=True)
            self.mean_weight.copy_(moments.total / rows)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""
        z = self.layers(self.standardization(x).to(self.dtype))
        return self.standardization.from_target(z)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch: sum(w r^2) / (rows mean(w)), with residuals r, row weights w."""
        batch = self.checked(batch)
        residual = self(batch.x) - batch.y
        weight = batch.y.new_ones(batch.rows) if batch.weight is None else batch.weight
        loss = weighted_mean_square(residual, weight / self.mean_weight)
        self.log("train_loss", loss, prog_bar=True, batch_size=batch.rows)
        return self.share(loss, batch.rows)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])
