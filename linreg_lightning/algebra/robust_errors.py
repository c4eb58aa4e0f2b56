"""Standard errors that hold where the variances of rows differ, or rows depend on each other."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_argument

ErrorKind = Literal["classical", "HC0", "HC1", "HC2", "HC3", "cluster", "HAC"]
SmallSample = Literal["statsmodels", "sandwich", "fixest"]


@dataclass(frozen=True)
class ErrorOptions:
    """Which standard errors to compute.

    Args:
        kind: see `ErrorKind`.
        lags: of HAC: the largest lag with a weight above 0, 1 - lag / (lags + 1).
        small_sample: whose corrections and degrees of freedom to take.

    Raises:
        InputError: a value outside its range; lags without HAC, or HAC without lags.
    """

    kind: ErrorKind = "classical"
    lags: int | None = None
    small_sample: SmallSample = "statsmodels"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("errors", self.kind, get_args(ErrorKind)),
            ("small_sample", self.small_sample, get_args(SmallSample)),
        ):
            *first, last = choices
            check_argument(name, repr(value), value in choices, f"{', '.join(first)} or {last}")
        if self.kind == "HAC" and self.lags is None:
            raise InputError("lags: none was given for errors HAC; give how many, such as 4")
        if self.kind != "HAC" and self.lags is not None:
            raise InputError(f"lags: {self.lags} was given; it is for errors HAC only")
        valid = self.lags is None or (isinstance(self.lags, int) and self.lags >= 0)
        check_argument("lags", self.lags, valid, "a whole number, 0 or above")


@dataclass(frozen=True, eq=False)
class RobustErrors:
    """The covariances of the coefficients, and the distribution of their ratios."""

    options: ErrorOptions
    # Of the intercept, if there is one, and the columns kept: between i and j, of target t, in
    # units of c_t^2 / (c_i c_j), where the intercept has c = 1; (targets, k, k) float64.
    covariance: Tensor
    df: float = math.inf  # of t; infinity: t has a normal distribution
    df_f: float = math.inf  # of the denominator of F
    clusters: tuple[int, ...] = ()  # how many there are, of each column of clusters
