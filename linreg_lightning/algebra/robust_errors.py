"""Standard errors that hold where the variances of rows differ, or rows depend on each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import to_float64
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_argument

ErrorKind = Literal["classical", "HC0", "HC1", "HC2", "HC3", "cluster", "HAC"]
_SINGULAR = 1e-13  # eigenvalues of correlations below which a matrix is singular to rounding
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

    @property
    def needs_leverage(self) -> bool:
        """Whether the residual of each row is divided by a power of 1 - leverage."""
        return self.kind in ("HC2", "HC3")


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
    cluster_names: tuple[str, ...] = ()  # of these columns

    def phrases(self) -> list[str]:
        """Return what the report of a fit says of the errors.

        >>> covariance = torch.eye(2).double()[None]
        >>> errors = RobustErrors(ErrorOptions("cluster"), covariance, 50, 50, (51,), ("state",))
        >>> errors.phrases()
        ['standard errors: clustered by state (51 clusters), as statsmodels']
        """
        kind, whose = self.options.kind, f"as {self.options.small_sample}"
        if kind == "HAC":
            return [f"standard errors: HAC, {self.options.lags} lags, {whose}"]
        if kind != "cluster":
            return [f"standard errors: {kind}, {whose}"]
        names = self.cluster_names or [f"cluster {k + 1}" for k in range(len(self.clusters))]
        ways = [f"{name} ({n} clusters)" for name, n in zip(names, self.clusters, strict=True)]
        return [f"standard errors: clustered by {' and '.join(ways)}, {whose}"]

    def description(self) -> dict[str, Any]:
        """Return the kind and the number of clusters by name, for `coefficients.json`."""
        options, counts = self.options, self.clusters
        return {
            "errors": options.kind,
            **({} if options.lags is None else {"lags": options.lags}),
            **({"clusters": counts[0] if len(counts) == 1 else list(counts)} if counts else {}),
            "small_sample": options.small_sample,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the errors as a tensor, numbers and strings."""
        options = self.options
        return {
            "kind": options.kind,
            "lags": options.lags,
            "small_sample": options.small_sample,
            "covariance": self.covariance,
            "df": self.df,
            "df_f": self.df_f,
            "clusters": list(self.clusters),
            "cluster_names": list(self.cluster_names),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the errors of a `state_dict`."""
        options = ErrorOptions(state["kind"], state["lags"], state["small_sample"])
        clusters, names = tuple(state["clusters"]), tuple(state["cluster_names"])
        return cls(options, state["covariance"], state["df"], state["df_f"], clusters, names)


def check_solution(solution: Solution[Any], options: ErrorOptions, keys: int) -> None:
    """Refuse, with an InputError, errors that a fit cannot have."""
    kind = options.kind
    if kind == "classical":
        raise InputError("errors: classical was given; they need no second pass over the rows")
    if solution.ridge > 0:
        text = f"{kind} was given with a penalty of {solution.ridge}"
        raise InputError(f"errors: {text}, which biases the estimates; type ridge 0")
    if solution.df_residual <= 0:
        text = f"{kind} was given, but no residual degree of freedom is left"
        raise InputError(f"errors: {text}; give more rows than coefficients")
    if options.lags is not None and options.lags >= (rows := solution.equations.rows):
        raise InputError(f"lags: {options.lags} was given for {rows} rows; give fewer than rows")
    if solution.rank == 0:
        raise InputError(f"errors: {kind} was given to a fit without coefficients; add a column")
    if kind == "cluster" and keys not in (1, 2):
        given = "no column" if keys == 0 else f"{keys} columns"
        raise InputError(
            f"cluster: {given} of clusters was given; give one or two for errors cluster"
        )
    if kind != "cluster" and keys:
        raise InputError(f"cluster: clusters were given for errors {kind}; type errors cluster")


def one_cluster(clusters: Sequence[int]) -> InputError:
    """Return the error for a column of one cluster."""
    which = f"column {list(clusters).index(1) + 1} has" if len(clusters) > 1 else "all rows are in"
    return InputError(
        f"cluster: {which} one cluster only; give a column with many, or type errors HC3"
    )


def degrees_of_freedom(
    solution: Solution[Any], options: ErrorOptions, clusters: Sequence[int]
) -> tuple[float, float]:
    """Return the degrees of freedom of t and of the denominator of F.

    `statsmodels`: t is normal, F has n - k, with clusters G - 1. `sandwich`: n - k, as in lmtest.
    `fixest`: n - k, with clusters G - 1, for HAC n - 1. G is the smaller number of clusters of two
    columns.
    """
    by_rows = float(solution.df_residual)
    by_clusters = float(min(clusters) - 1) if clusters else by_rows
    if options.small_sample == "fixest" and options.kind == "HAC":
        by_clusters = float(solution.equations.rows - 1)
    if options.small_sample == "statsmodels":
        return math.inf, by_clusters
    if options.small_sample == "sandwich":
        return by_rows, by_rows
    return by_clusters, by_clusters


def small_sample_factor(
    solution: Solution[Any],
    options: ErrorOptions,
    clusters: Sequence[int] = (),
    place: int = 0,
    *,
    nested: int = 0,
) -> float:
    """Return what the meat is multiplied by; for clusters that of one of them, or of their pairs.

    HC1: n / (n - k). Clusters: G / (G - 1) (n - 1) / (n - k), where G is the number of clusters, of
    each column and of the pairs; for `fixest` G is the smallest number of all, and effects that
    are nested in clusters do not count in k. `fixest` corrects HC2, HC3 and HAC as HC1.
    """
    n, df = solution.equations.rows, solution.df_residual
    is_fixest = options.small_sample == "fixest"
    if options.kind == "cluster":
        count = min(clusters) if is_fixest else clusters[place]
        return count / (count - 1) * (n - 1) / (df + nested * is_fixest)
    if options.kind == "HC1" or (is_fixest and options.kind in ("HC2", "HC3", "HAC")):
        return n / df
    return 1.0


def wald_f(solution: Solution[Any], errors: RobustErrors) -> Tensor:
    """Return b' C^-1 b / q, (targets,), for the q slopes b with the covariance C.

    NaN without slopes, where C is singular, as with no more clusters than slopes, and where columns
    hold a constant that is no intercept.
    """
    equations = solution.equations
    slope = to_float64(solution.scaled_coefficients).T
    implicit_constant = solution.has_constant and not equations.intercept and not solution.absorbed
    result = torch.full((len(slope),), math.nan, dtype=torch.float64)
    if not slope.shape[1] or implicit_constant:
        return result
    covariance = errors.covariance[:, equations.intercept :, equations.intercept :]
    # Columns of any units have the same variances.
    scale = covariance.diagonal(dim1=1, dim2=2).sqrt()
    correlation = covariance / scale[:, :, None] / scale[:, None]
    ratio = slope / scale
    for k, (matrix, t) in enumerate(zip(correlation, ratio, strict=True)):
        if bool(matrix.isfinite().all() & t.isfinite().all()):
            values, vectors = torch.linalg.eigh(matrix)
            if values[0] > _SINGULAR * values[-1]:
                result[k] = ((vectors.T @ t).square() / values).sum() / len(t)
    return result
