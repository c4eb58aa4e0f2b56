"""Linear regression with torch's own building blocks: nn.Linear, nn.MSELoss, SGD."""

import math
from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.metrics.regression import weighted_mse_loss
from linreg_lightning.models.descent import DescentModule
from linreg_lightning.models.standardized import StandardizedModule
from linreg_lightning.validation import check_argument


@final
class LinearRegression(DescentModule, StandardizedModule):
    """nn.Linear fitted by SGD on the mean squared error, in the Trainer's precision.

    loss = sum(w (y - weight x - intercept)^2) / rows, averaged over the targets

    The sum runs over the `rows` rows of a batch. `prepare_batch` divides the row weights w by their
    mean over all training rows, so a row has the same influence whichever batch or process it is
    in. Without row weights the loss is `nn.MSELoss`.

    Args:
        lr: the learning rate, above 0.
        momentum: the momentum of SGD, from 0 to below 1.
        weight_decay: the weight decay of SGD, 0 or above. As in torch it acts on the intercept too,
            and on the coefficients of the standardised features where `standardize` is on.
        intercept: whether the model adds a constant; None means yes, unless the data have a column
            of ones named `intercept`.
        standardize: whether to fit on features of mean 0 and standard deviation 1 and targets of
            mean 0, which lets features on very different scales converge. Coefficients,
            predictions and losses stay in the user's units.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter is outside its range, or the data have no features.

    >>> model = LinearRegression(in_features=2)
    >>> model(torch.ones(5, 2)).shape
    torch.Size([5, 1])
    """

    linear: nn.Linear

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
        check_argument("lr", lr, 0 < lr < math.inf, "a number above 0, such as 0.1")
        check_argument("momentum", momentum, 0 <= momentum < 1, "a number from 0 to below 1")
        check_argument("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or above")
        self.standardize = standardize  # `build` reads it, and super().__init__ may call `build`
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.criterion = nn.MSELoss()

    def build(self, in_features: int, out_features: int) -> None:
        if in_features == 0:
            raise InputError(
                "features: the data have none; name a column to predict from, or use LeastSquares, "
                "which can fit the constant alone"
            )
        super().build(in_features, out_features)
        self.linear = nn.Linear(in_features, out_features, bias=self.has_intercept)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(self.standardized(x)).to(self.dtype)
        return self.standardization.add_target_mean(z)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y, row_weight = self.prepare_batch(batch)
        prediction = self.linear(x)
        if row_weight is None:
            loss: Tensor = self.criterion(prediction, y)
        else:
            loss = weighted_mse_loss(prediction, y, row_weight)
        self.log("train_loss", loss, prog_bar=True)
        # The log shows the loss of these rows; only the gradients need the scale.
        return self.scale_loss(loss, len(x))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.parameters(), self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        """Return coefficients and intercepts (None without one), with standardisation undone."""
        weight = self.linear.weight.detach()
        intercept = self.linear.bias.detach() if self.has_intercept else None
        return self.standardization.unscale(weight, intercept, self.columns.intercept)
