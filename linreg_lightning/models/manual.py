"""Gradient descent by hand: the tutorial's loop under the Trainer."""

import math
from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning import tutorial
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.models.descent import DescentModule
from linreg_lightning.models.regression import ClosureOptimizer
from linreg_lightning.validation import check_argument


@final
class ManualLinearRegression(DescentModule):
    """Gradient descent by hand: `linreg_lightning.tutorial.step` is the training step.

    y = X w, with w, (features, targets), drawn from N(0, 1). For an intercept of its own, the model
    puts a column of ones in front of X.

    Args:
        lr: the learning rate, above 0.
        intercept: whether the model adds a constant; None means yes, unless the data have a column
            of ones named `intercept`.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: the learning rate is outside its range; in a fit, rows have weights, which the
            loop by hand ignores, or the precision is 16-mixed, which scales the gradients.

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
        check_argument("lr", lr, 0 < lr < math.inf, "a number above 0, such as 0.1")
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.lr = lr
        self.automatic_optimization = False

    def build(self, in_features: int, out_features: int) -> None:
        self.weight = nn.Parameter(torch.randn(in_features + self.has_intercept, out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self._add_ones(x) @ self.weight

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y, row_weight = self.validate_batch(batch)
        if row_weight is not None:
            raise InputError(
                "weight: rows with weights were given, but the loop by hand counts each row once; "
                "use LinearRegression"
            )
        x, y = self._add_ones(x), y.to(self.dtype)
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]  # a callback may have changed it

        def backward(loss: Tensor) -> None:
            self.manual_backward(self.scale_loss(loss, len(x)))

        loss: Tensor = self._take_step(lambda: tutorial.step(x, y, self.weight, lr, backward))
        self.log("train_loss", loss, prog_bar=True, batch_size=len(x))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return ClosureOptimizer(self.parameters(), self.lr)

    def on_fit_start(self) -> None:
        """Refuse the precision that scales gradients."""
        if self.trainer.precision == "16-mixed":
            raise InputError(
                "precision: 16-mixed was given, which scales gradients, and a loop by hand does "
                "not unscale them; type bf16-mixed or 32-true"
            )

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight.detach().T
        return (weight[:, 1:], weight[:, 0]) if self.has_intercept else (weight, None)

    def _add_ones(self, x: Tensor) -> Tensor:
        """Put a column of ones in front of x where the model has an intercept."""
        x = x.to(self.dtype)
        return torch.cat([x.new_ones(len(x), 1), x], dim=1) if self.has_intercept else x
