"""The base of the linear models: an equation, and its coefficients by name."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.frames import is_frame
from linreg_lightning.metrics.regression import RegressionMetrics
from linreg_lightning.models.columns import ModelColumns
from linreg_lightning.models.model_table import ModelTable
from linreg_lightning.models.original_units import Center, OriginalUnits
from linreg_lightning.models.table import frame_of
from linreg_lightning.protocols import IntervalModel, NamedColumns, TrueCoefficients
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
        in_features, out_features: see `TableModule`.
    """

    r2_uncentered: bool = False
    """Whether r2 compares residuals to y, not to y less its mean: in models without a constant."""

    def __init__(
        self, intercept: bool | None, in_features: int | None, out_features: int | None
    ) -> None:
        valid = intercept is None or intercept in (True, False)
        check_argument("intercept", intercept, valid, "true, false or null")
        self.fit_intercept = intercept
        self.has_intercept = False
        self.true_coefficients: dict[str, dict[str, float]] = {}
        super().__init__(in_features, out_features)

    def set_intercept(self, intercept: bool) -> None:
        """Add a constant, or none, as a formula says; what the argument has decided stays."""
        if self.fit_intercept is None:
            self.fit_intercept = intercept
            if "intercept" in self.hparams:  # from which a checkpoint makes the model again
                self.hparams["intercept"] = intercept

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

    def predict(self, x: Any, intervals: bool = False, original_units: Center | None = None) -> Any:
        """Return predictions of y, in the user's units.

        As in `TableModule.predict`; a frame gets a column for each target.

        Args:
            x: the rows: a data frame, or an array or tensor, (rows, features).
            intervals: whether to add columns of standard errors and intervals to the frame, as
                `Prediction.columns` names them; only for models that have a `prediction`.
            original_units: after a formula such as `log(price) ~ area`, `median` or `mean` gives
                the frame the median or mean of price, instead of predictions of log(price); what
                they assume, and the columns, are those of `OriginalUnits`.

        Raises:
            InputError: as in `TableModule.predict` and `OriginalUnits`; the model has no intervals.

        >>> import pyarrow as pa
        >>> from linreg_lightning import LeastSquares, TensorData, Trainer
        >>> x = pa.table({"age": [1.0, 2.0, 4.0, 8.0], "rooms": [3.0, 1.0, 2.0, 2.0]})
        >>> model = LeastSquares()
        >>> Trainer(max_epochs=1, barebones=True).fit(model, TensorData(x, [4.0, 3.0, 6.0, 10.0]))
        >>> answer = model.predict(pa.table({"rooms": [5.0], "city": ["Oslo"], "age": [1.0]}))
        >>> answer.column_names, round(answer["y"][0].as_py(), 9)
        (['y'], 6.0)
        """
        if not intervals and original_units is None:
            return super().predict(x)
        if intervals and not isinstance(self, IntervalModel):
            raise InputError(
                f"intervals: {type(self).__name__} has none; leave it out, or fit LeastSquares"
            )
        if not is_frame(x):
            given = "intervals" if intervals else "original_units"
            remedy = ", or call prediction(x), which returns tensors" if intervals else ""
            raise InputError(
                f"{given}: they are columns of a data frame, and a {type(x).__name__} was given; "
                f"give a frame{remedy}"
            )
        self._refuse_unfitted("predict")
        model: Any = self
        units = None if original_units is None else self.original_units(original_units)
        rows = self.read_rows(x)
        prediction: Any = model.prediction(rows) if intervals else self._predict_rows(rows)
        if units is not None:
            return frame_of(x, units.columns(prediction))
        return frame_of(x, prediction.columns(self.target_names))

    def original_units(self, center: Center) -> OriginalUnits:
        """Return what turns predictions of log(price) into the median, or mean, of price.

        Raises:
            InputError: as `OriginalUnits`; the model has not been fitted.
        """
        self._refuse_unfitted("original_units")
        sd = self.fit_statistics.get("residual_sd")
        deviations = [sd] if isinstance(sd, float) else sd
        return OriginalUnits(self.frame_reader, center, deviations)

    def make_metrics(self) -> RegressionMetrics:
        """RMSE, MAE and R2, beside the loss: the mean square of the residuals."""
        return RegressionMetrics(len(self.target_names))

    def set_class_names(self, names: Sequence[str]) -> None:
        """Refuse classes, which no equation predicts."""
        if names:
            raise InputError(
                f"class_names: the data have the classes {', '.join(names)}, and "
                f"{type(self).__name__} predicts numbers; give a model of classes, or set classes "
                "to false"
            )

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

    def _metric_values(self) -> dict[str, Any]:
        metrics: Any = self._get_metrics().metrics
        metrics.uncentered = self.r2_uncentered
        return super()._metric_values() | ({"r2_uncentered": True} if self.r2_uncentered else {})

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
