"""Predictions of transformed targets in the units of their columns: price, not log(price)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, final

from torch import Tensor

from linreg_lightning.algebra import Prediction
from linreg_lightning.design_matrix.formula_expressions import is_name
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.design_matrix.target_inverse import TargetInverse
from linreg_lightning.errors import InputError

Center = Literal["median", "mean"]


@final
class OriginalUnits:
    """Turns predictions of the targets of a formula, t = f(y), into predictions of y.

    The `median` of y is the inverse of f at the prediction, because f keeps or reverses the order,
    as long as the errors of t are as often above 0 as below it. The ends of intervals are turned
    in the same way, and cover y, or its median, as often as those of t cover t or its mean.

    The `mean` is larger than the median for a logarithm. It is exp(t + s^2 / 2) for t = log(y), and
    b^(t + log(b) s^2 / 2) to the base b, if errors are normal and have the same variance in all
    rows; s is `residual_sd` (of a row of weight 1). The error of s and t itself is left out. For a
    linear f mean and median are the same.

    Args:
        reader: what reads the rows of the model; it has the formula.
        center: median or mean.
        residual_sd: s of each target; None if the model knows none.

    Raises:
        InputError: no target is a function of a column; one has no inverse, no mean or no s.
    """

    def __init__(
        self, reader: FrameReader | None, center: Center, residual_sd: Sequence[float] | None
    ) -> None:
        if center not in ("median", "mean"):
            raise InputError(f"original_units: {center!r} was given; type median or mean")
        formula = None if reader is None else reader.design.formula_matrix
        if formula is None or all(map(is_name, formula.targets)):
            raise InputError(
                "original_units: no target of the model is a function of a column, so predictions "
                "have its units already; leave original_units out"
            )
        self._inverses = [TargetInverse(target) for target in formula.targets]
        self._is_mean, self._warned = center == "mean", False
        self._sd = list(residual_sd or [float("nan")] * len(self._inverses))
        for inverse, sd in zip(self._inverses, self._sd, strict=True):
            if not self._is_mean or inverse.is_linear:
                continue
            if not inverse.has_mean:
                text = f"the mean of {inverse.column} is not known from that of {inverse.text}"
                raise InputError(f"original_units: {text}; type median")
            if not sd >= 0:
                text = "the mean needs the standard deviation of the errors, which the model lacks"
                raise InputError(f"original_units: {text}; type median, or fit LeastSquares")

    def columns(self, prediction: Tensor | Prediction) -> dict[str, Tensor]:
        """Return columns, (rows,) float64 each, named after the columns of the table.

        For a `Prediction` of log(price) these are `price`, `price_median_low` and
        `price_median_high` (the confidence interval of the median), and `price_low` and
        `price_high` (the prediction interval); `price_mean_low` ... where f is linear.

        Raises:
            InputError: intervals of a mean, or two columns of the same name.
        """
        center = prediction.mean if isinstance(prediction, Prediction) else prediction
        center = center.detach().cpu().double().reshape(len(center), -1)
        columns: dict[str, Tensor] = {}
        for k, inverse in enumerate(self._inverses):
            t = center[:, k]
            y = inverse.mean(t, self._sd[k]) if self._is_mean else inverse.median(t)
            self._warn_of_absent(inverse, t, y)
            parts = {"": y}
            if isinstance(prediction, Prediction):
                parts |= self._interval_columns(inverse, prediction, k)
            for suffix, values in parts.items():
                if (name := f"{inverse.column}{suffix}") in columns:
                    text = f"two columns of predictions would be named {name!r}"
                    raise InputError(f"original_units: {text}; rename a target")
                columns[name] = values
        return columns

    def _interval_columns(
        self, inverse: TargetInverse, prediction: Prediction, k: int
    ) -> dict[str, Tensor]:
        if self._is_mean and not inverse.is_linear:
            text = f"the ends of intervals are not known for the mean of {inverse.column}"
            raise InputError(f"original_units: {text}; type median, or leave intervals out")
        name = "_mean" if inverse.is_linear else "_median"
        ends = {f"{name}_low": prediction.mean_low, f"{name}_high": prediction.mean_high}
        ends |= {"_low": prediction.row_low, "_high": prediction.row_high}
        values = [inverse.end(each[:, k]) for each in ends.values()]
        if inverse.is_decreasing:
            values = [values[1], values[0], values[3], values[2]]
        return dict(zip(ends, values, strict=True))

    def _warn_of_absent(self, inverse: TargetInverse, t: Tensor, y: Tensor) -> None:
        """Warn, once, where a prediction is no value that the target can have."""
        if (t.isfinite() & y.isnan()).any() and not self._warned:
            self._warned = True
            warnings.warn(
                f"original_units: a prediction of {inverse.text} is beyond the values that it can "
                f"have, or {inverse.column} is beyond float64; such rows have no prediction",
                stacklevel=2,
            )

    def __str__(self) -> str:
        """Say of each target whether the numbers are means or medians, and on which terms."""
        return "; ".join(
            self._meaning(inverse, sd) for inverse, sd in zip(self._inverses, self._sd, strict=True)
        )

    def _meaning(self, inverse: TargetInverse, sd: float) -> str:
        if inverse.is_linear:
            return f"{inverse.column} is the mean"
        if not self._is_mean:
            return f"{inverse.column} is the median, not the mean: the inverse of {inverse.text}"
        terms = f"normal and of equal variance (residual_sd {sd:.4g})"
        return f"{inverse.column} is the mean, if the errors of {inverse.text} are {terms}"
