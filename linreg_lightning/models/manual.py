"""The tutorial's loop by hand, under the Trainer."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.models.closure_optimizer import ClosureOptimizer, take_step
from linreg_lightning.models.linear import check_lr
from linreg_lightning.models.regression import RegressionModule
from linreg_lightning.tutorial import step


@final
class ManualLinearRegression(RegressionModule):
    """Gradient descent by hand: `manual.step`, as it stands, is the training step.

    The weights w are (features, targets), as the tutorial has them, drawn from N(0, 1); y = X w.
    Where the data have no column of ones, the model puts one in front of X for its intercept.

    Args:
        lr: the learning rate, above 0.
        intercept: whether the model adds a constant; None: unless the data have a column of ones
            named `intercept`.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a learning rate outside its range; when fitting, rows with weights, which the
            loop by hand knows nothing of, or 16-mixed precision, which scales gradients.

    >>> model = ManualLinearRegression(in_features=2)
    >>> model(torch.ones(5, 2)).shape
    torch.Size([5, 1])
    """

    weight: nn.Parameter

    def __init__(
        self,
        lr: float = 0.1,
        intercept: bool | None = None,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        check_lr(lr)
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.automatic_optimization = False

    def build(self, in_features: int, out_features: int) -> None:
        """Draw the weights."""
        self.weight = nn.Parameter(torch.randn(in_features + self.has_intercept, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""
        return self._design(x) @ self.weight

    def on_fit_start(self) -> None:
        """Refuse a precision whose gradients are not the loss's own."""
        if self.trainer.precision == "16-mixed":
            raise InputError(
                "precision: 16-mixed was given, which scales gradients behind the loop's back; "
                "type --trainer.precision bf16-mixed or 32-true"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The raw loop's step."""
        batch = self.checked(batch)
        if batch.weight is not None:
            raise InputError(
                "weight: rows with weights were given, but the loop by hand counts each row once; "
                "use --model LinearRegression"
            )
        x, y = self._design(batch.x), batch.y.to(self.weight.dtype)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]  # others may have changed it

        def backward(loss: Tensor) -> None:
            self.manual_backward(self.share(loss, batch.rows))

        update = partial(step, x, y, self.weight, rate, backward)
        loss: Tensor = take_step(self, update)
        self.log("train_loss", loss, prog_bar=True, batch_size=batch.rows)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What lets the Trainer count the steps."""
        return ClosureOptimizer(self.parameters(), self.hparams["lr"])

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        """The equation in the user's units: (targets, features) and (targets,), or None."""
        weight = self.weight.detach().T
        return (weight[:, 1:], weight[:, 0]) if self.has_intercept else (weight, None)

    def _design(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return torch.cat([x.new_ones(len(x), 1), x], dim=1) if self.has_intercept else x
