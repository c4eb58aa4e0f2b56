"""The base of the linear models: an equation, and its coefficients by name."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.models.columns import ModelColumns
from linreg_lightning.models.model_table import ModelTable
from linreg_lightning.protocols import NamedColumns, TrueCoefficients
from linreg_lightning.validation import check_argument

Coefficient = dict[str, Any]
"""A row of the table: `target`, `name`, `estimate`, `true` if known, and what a model adds."""


class RegressionModule(ModelTable):
    """A linear model of named columns, y = weight x + intercept, however it is fitted.

    Where the data know the true coefficients, the table of coefficients shows them. A subclass also
    defines `weight_and_intercept`, and its `build` can read `has_intercept`.

    Args:
        intercept: whether the model adds a constant; None means yes, unless the data have a column
            of ones named `intercept`.
        in_features, out_features: see `SupervisedModule`.
    """

    def __init__(
        self, intercept: bool | None, in_features: int | None, out_features: int | None
    ) -> None:
        valid = intercept is None or intercept in (True, False)
        check_argument("intercept", intercept, valid, "true, false or null")
        self.fit_intercept = intercept
        self.has_intercept = False
        self.true_coefficients: dict[str, dict[str, float]] = {}
        super().__init__(in_features, out_features)

    @abstractmethod
    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        """Return the coefficients, (targets, features), and the intercepts, (targets,), or None."""

    def coefficients(self) -> list[Coefficient]:
        """The table in the user's units, intercepts first; before a fit: an InputError."""
        if not self.target_names:
            raise InputError("coefficients: the model has no columns yet; fit it first")
        weight, intercept = self.weight_and_intercept()
        names, columns = self.feature_names, weight.double()
        if intercept is not None:
            names = ["intercept", *names]
            columns = torch.cat([intercept.double().unsqueeze(1), columns], dim=1)
        rows: list[Coefficient] = []
        for target, estimates in zip(self.target_names, columns.tolist(), strict=True):
            true = self.true_coefficients.get(target, {})
            for name, estimate in zip(names, estimates, strict=True):
                known = {"true": true[name]} if name in true else {}
                rows.append({"target": target, "name": name, **known, "estimate": estimate})
        return rows

    def setup(self, stage: str) -> None:
        """Take the columns from the data, and the true coefficients where the data know them."""
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, NamedColumns):
            true = data.true_coefficients if isinstance(data, TrueCoefficients) else None
            self.true_coefficients = true or {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["columns"]["true"] = self.true_coefficients

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the columns, and the true coefficients where the data do not know them."""
        super().on_load_checkpoint(checkpoint)
        self.true_coefficients = self.true_coefficients or checkpoint["columns"]["true"]

    def _take_step(self, closure: Callable[[], Any]) -> Any:
        """Run the closure as the next step, which the Trainer counts; return its result."""
        return self.optimizers().step(closure=closure)  # type: ignore[union-attr]  # there is one

    def _assign_columns(self, columns: ModelColumns) -> None:
        """Decide whether the model adds a constant, before its parameters are made."""
        has_ones, is_built = columns.intercept is not None, bool(self.target_names)
        constant = self.has_intercept if is_built else self.fit_intercept
        if has_ones and constant:
            reason = "was made" if is_built else "was asked for"
            raise InputError(
                f"intercept: a constant of the model {reason}, but the data have a column of ones "
                "already, named intercept; type false, or leave out the column"
            )
        self.has_intercept = not has_ones if constant is None else constant
        super()._assign_columns(columns)


@final
class ClosureOptimizer(torch.optim.Optimizer):
    """An optimiser whose step only calls the closure, so that the Trainer counts it as a step."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})  # callbacks show both

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()
