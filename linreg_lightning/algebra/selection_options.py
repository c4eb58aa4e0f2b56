"""What a selection compares: the penalty, its mixtures and sizes, and the rule that chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from linreg_lightning.validation import check_argument

PenaltyKind = Literal["ridge", "lasso", "elasticnet"]
Choice = Literal["min", "one_standard_error", "aic", "bic", "cp", "gcv"]
DEFAULT_L1_RATIO = 0.5  # of the elastic net, as in scikit-learn


@dataclass(frozen=True)
class SelectionOptions:
    """The arguments of `select_penalty` that do not concern the rows.

    Raises:
        InputError: an argument is outside its range.
    """

    penalty: PenaltyKind = "lasso"
    l1_ratio: float | Sequence[float] | None = None
    alphas: int | Sequence[float] = 100
    choice: Choice = "min"
    standardize: bool = True
    unpenalized: Sequence[int] = ()  # columns of x
    nested: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        check_argument(
            "penalty", self.penalty, self.penalty in get_args(PenaltyKind),
            "ridge, lasso or elasticnet",
        )  # fmt: skip

    @property
    def l1_ratios(self) -> list[float]:
        """The shares of the penalty that are on magnitudes: 0 of ridge, 1 of the lasso."""
        if self.penalty != "elasticnet":
            return [0.0 if self.penalty == "ridge" else 1.0]
        given = DEFAULT_L1_RATIO if self.l1_ratio is None else self.l1_ratio
        return [given] if isinstance(given, float | int) else list(given)
