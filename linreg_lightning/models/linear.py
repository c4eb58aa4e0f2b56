"""Linear regression as torch has it: nn.Linear, nn.MSELoss, SGD."""

from __future__ import annotations

from typing import final

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.standardization import Standardization
from linreg_lightning.errors import InputError
from linreg_lightning.metrics.regression import weighted_mean_square
from linreg_lightning.models.regression import RegressionModule
from linreg_lightning.models.training_rows import training_batches


@final
class LinearRegression(RegressionModule):
    """nn.Linear fitted by SGD on the mean squared error, in the Trainer's precision.

    loss = sum(w (y - weight x - intercept)^2) / sum(w) over all rows, averaged over the targets;
    without row weights w this is `nn.MSELoss`. Of a batch, sum(w) is the number of its rows times
    the mean weight of all rows, so that a heavy row counts as much in any batch and any process.

    Args:
        lr: the learning rate, above 0.
        momentum: of SGD, from 0 to below 1.
        weight_decay: of SGD, 0 or above; as in torch it acts on the intercept too, and on the
            weights of the standardised features where `standardize` is on.
        intercept: whether the model adds a constant; None: unless the data have a column of ones
            named `intercept`.
        standardize: whether to fit on features of mean 0 and standard deviation 1 and targets of
            mean 0, which lets tables with wild units converge. Coefficients, predictions and losses
            stay in the user's units.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter outside its range.

    >>> model = LinearRegression(in_features=2)
    >>> model(torch.ones(5, 2)).shape
    torch.Size([5, 1])
    """

    linear: nn.Linear
    standardization: Standardization
    mean_weight: Tensor

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        intercept: bool | None = None,
        standardize: bool = False,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        check_lr(lr)
        if not 0 <= momentum < 1:
            raise InputError(f"momentum: {momentum} was given; type a number from 0 to below 1")
        if not 0 <= weight_decay < float("inf"):
            raise InputError(f"weight_decay: {weight_decay} was given; type a number, 0 or above")
        self._standardize = standardize
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.criterion = nn.MSELoss()

    def build(self, in_features: int, out_features: int) -> None:
        """Make the linear layer.

        Raises:
            InputError: there is no column to learn from.
        """
        if in_features == 0:
            raise InputError(
                "features: no column is left to predict from; name some, or use "
                "--model LeastSquares for the constant alone"
            )
        self.linear = nn.Linear(in_features, out_features, bias=self.has_intercept)
        self.standardization = Standardization(in_features, out_features)
        self.register_buffer("mean_weight", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""
        prediction = self._predict(x)
        return prediction + self.standardization.target_mean if self._standardize else prediction

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        batch = self.checked(batch)
        loss = self._loss(self._predict(batch.x), batch)
        self.log("train_loss", loss, prog_bar=True)
        return self.share(loss, batch.rows)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over all parameters."""
        options = {name: self.hparams[name] for name in ("lr", "momentum", "weight_decay")}
        return torch.optim.SGD(self.parameters(), **options)

    def on_train_start(self) -> None:
        """Take the scale of the columns and the mean weight from the rows to train on."""
        if self.trainer.ckpt_path is not None:
            return  # they have come with the checkpoint
        first = next(training_batches(self), None)
        if not self._standardize and (first is None or first.weight is None):
            return
        moments, rows = self.training_moments()
        self.mean_weight.copy_(moments.total / rows)
        if self._standardize and not self.standardization.fitted:
            self.standardization.fit(moments, self.has_intercept, self._ones)
            constant = [self.feature_names[j] for j in self.standardization.constant]
            if constant:
                rank_zero_warn(
                    f"These columns do not vary and get the coefficient 0: {', '.join(constant)}"
                )

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        """The equation in the user's units: (targets, features) and (targets,), or None."""
        intercept = self.linear.bias.detach() if self.has_intercept else None
        if not self._standardize:
            return self.linear.weight.detach(), intercept
        weight, constant = self.standardization.unscale(self.linear.weight.detach())
        if intercept is not None:
            return weight, intercept + constant
        if self._ones is not None:
            weight[:, self._ones] += constant
        return weight, None

    def _predict(self, x: Tensor) -> Tensor:
        """What the layer makes of x, in its own precision; standardised, less the targets' mean."""
        if self._standardize:
            x = self.standardization(x)
        linear = self.linear
        dtype = linear.weight.dtype
        return _cast(linear(_cast(x, dtype)), dtype)

    def _loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        y = self.standardization.target(batch.y) if self._standardize else batch.y
        y = _cast(y, prediction.dtype)
        if batch.weight is None:
            loss: Tensor = self.criterion(prediction, y)
            return loss
        return weighted_mean_square(prediction - y, batch.weight / self.mean_weight)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In another precision. Where it is the same, torch takes longer to find out."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def check_lr(lr: float) -> None:
    """Refuse a learning rate with which nothing can be learned.

    Raises:
        InputError: it is not a finite number above 0.
    """
    if not 0 < lr < float("inf"):
        raise InputError(f"lr: {lr} was given; type a number above 0, such as 0.1")
