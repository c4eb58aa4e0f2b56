"""The units of penalties: scales of columns, the grid of alphas, the arguments of other software.

Everything here is about one objective, with the sum of weights W,

    1/(2 W) sum w (y - b_0 - x b)^2 + alpha sum_j p_j (l |s_j b_j| + (1 - l)/2 (s_j b_j)^2),

l the `l1_ratio`, p_j 0 for columns without a penalty and 1 for others, and s_j the scale of column
j: with `standardize` the root of (1/W) sum w (x_j - mean_j)^2, without an intercept of
(1/W) sum w x_j^2; else 1. Other software has the same minimum with these arguments, s_y the scale
of y and d columns of which p have a penalty:

| software                         | its arguments     | alpha here        | `standardize`        |
|----------------------------------|-------------------|-------------------|----------------------|
| `least_squares`                  | ridge             | ridge / W         | False                |
| scikit-learn `Ridge`             | alpha             | alpha / W         | False                |
| scikit-learn `Lasso`             | alpha             | alpha             | False                |
| scikit-learn `ElasticNet`        | alpha, l1_ratio   | alpha, l1_ratio   | False                |
| these after `StandardScaler`     | the same          | the same          | True                 |
| glmnet, alpha = 1 (lasso)        | lambda            | lambda d / p      | its own, True first  |
| glmnet, alpha = 0 (ridge)        | lambda            | lambda d / (p s_y)| its own, True first  |
| glmnet, alpha = a                | lambda            | see below         | its own, True first  |

`Lasso` and `ElasticNet` divide row weights by their mean, `Ridge` does not, as `least_squares`.
`StandardScaler` needs the same row weights as the fit. glmnet divides y by s_y, and its penalty on
the squares, but not that on the magnitudes, depends on s_y: with c = lambda d / p its objective is
the one above for alpha = c (a + (1 - a) / s_y) and l = a / (a + (1 - a) / s_y). Without an
intercept, glmnet takes scales around the means.

Sources: J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models
via coordinate descent, J. Stat. Softw. 33 (2010), sections 2.3 and 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from linreg_lightning.algebra.cholesky import diagonal, factor_independent
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    as_precise_as,
    ldexp,
    to_float64,
)
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.solve import ScaledEquations, out_of_range, scale_equations

_SMALLEST_L1_RATIO = 0.001  # that sets the largest alpha, as in glmnet


@dataclass(frozen=True, eq=False)
class StandardizedEquations(Generic[Number]):
    """The objective as a function of g_j = s_j b_j; other coefficients have their best values.

    It is g'A g / 2 - g'h + m / 2 + alpha sum_j (l |g_j| + (1 - l)/2 g_j^2) over the columns with a
    penalty, for each target with its own g, h and m. Targets are in units of c_y =
    2^target_exponent, and so are g and the part of alpha that is on |g|.
    """

    cross: Number  # A, (penalized, penalized)
    xy: Number  # h, (penalized, targets)
    square: Number  # m, the mean square that is left with g = 0; (targets,)
    # The mean square of y about its mean, or about 0 without an intercept; (targets,) float64.
    variation: Tensor
    # An entry i, j of A or h may have an error of `roundoff` norm_i norm_j; that of columns without
    # a penalty is not counted.
    roundoff: float
    norm: Tensor  # (penalized,) float64
    target_norm: Tensor  # (targets,) float64
    penalized: Tensor  # the columns of g, (penalized,) int64; constant ones are left out
    unpenalized: Tensor  # columns without a penalty that are no combinations of earlier ones
    target_exponent: Tensor  # (targets,) int64
    fixed_terms: int  # the coefficients without a penalty, the intercept included
    rows: int  # of weight above 0
    log_weight: float  # the sum of the logarithms of the weights above 0
    weight: Tensor  # W, in the user's units; () float64
    features: int
    intercept: bool
    scale: Number  # s_j of the penalized columns, in units of `exponent`
    exponent: Tensor  # of the units of features and targets, (features + targets,) int64
    # The coefficients of the unpenalized columns are these, less `projection` b.
    unpenalized_solution: Number  # (unpenalized, targets)
    projection: Number  # (unpenalized, penalized)
    mean: DoubleDouble  # (features + targets,)

    def coefficients(self, standardized: Tensor | DoubleDouble) -> tuple[Tensor, Tensor]:
        """Return b and b_0 in the user's units, with 0 for columns left out.

        Args:
            standardized: g, (penalized, fits x targets): all targets of the first fit come first.

        Returns:
            (fits, features, targets) and (fits, targets), float64.

        Raises:
            InputError: a coefficient leaves float64's range.
        """
        d, targets = self.features, len(self.target_exponent)
        slope = DoubleDouble.of(standardized) / DoubleDouble.of(self.scale)[:, None]
        size = slope.high.shape[1]
        fits = size // targets
        scaled = DoubleDouble.of(torch.zeros(d, size, dtype=torch.float64))
        scaled[self.penalized] = slope
        if len(self.unpenalized):
            share = matrix_product(DoubleDouble.of(self.projection), slope)
            start = repeat_columns(DoubleDouble.of(self.unpenalized_solution), fits)
            scaled[self.unpenalized] = start - share
        product = matrix_product(self.mean[None, :d], scaled)
        level = (repeat_columns(self.mean[None, d:], fits) - product)[0]
        change = (self.exponent[d:] - self.exponent[:d, None]).clamp(-2000, 2000)
        slopes = ldexp(scaled.high.reshape(d, fits, targets), change[:, None]).movedim(0, 1)
        intercept = ldexp(level.high.reshape(fits, targets), self.exponent[d:]) * self.intercept
        if not bool(slopes.isfinite().all() & intercept.isfinite().all()):
            raise out_of_range("a coefficient")
        return slopes, intercept

    def standardized(self, coefficients: Tensor) -> Tensor:
        """Return g of b, (features, ..., targets) float64 in the user's units.

        The shape is (penalized, ..., targets).
        """
        shape = -1, *[1] * (coefficients.ndim - 1)
        unit = self.exponent[self.penalized].view(shape) - self.target_exponent
        return ldexp(coefficients[self.penalized], unit) * to_float64(self.scale).view(shape)


def standardize_equations(
    equations: NormalEquations[Number],
    *,
    standardize: bool = True,
    unpenalized: Sequence[int] = (),
) -> StandardizedEquations[Number]:
    """Return the objective in standardized coefficients, without the columns `unpenalized`.

    `standardize` is that of the table above. A column with a penalty whose values are all the same,
    to rounding errors, is left out: its coefficient is 0. So is a column that is a combination of
    columns without a penalty, of earlier ones if it has none itself.

    Raises:
        InputError: a variance leaves float64's range.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.batch import Batch
    >>> gram, x = ExactGram(2), torch.tensor([[0.0, 1.0], [1.0, -1.0], [2.0, 1.0], [3.0, 1.0]])
    >>> gram.update(Batch(x, x[:, :1]))
    >>> standardize_equations(gram.normal_equations()).cross.high
    tensor([[1.0000, 0.2582],
            [0.2582, 1.0000]], dtype=torch.float64)
    """
    scaled, d = scale_equations(equations, 0.0), equations.features
    columns, fixed = _divide_columns(scaled, d, unpenalized)
    rest, solution, kept, penalized = _project(equations, scaled, fixed, columns)
    count, targets = len(penalized), torch.arange(d, len(scaled.cross))
    if standardize:
        scale = (diagonal(scaled.cross)[penalized] / equations.weight).sqrt()
    else:
        ones = ldexp(torch.ones(count, dtype=torch.float64), -scaled.exponent[penalized])
        scale = as_precise_as(scaled.cross, DoubleDouble.of(ones))
    cross = rest[:count, :count] / scale[:, None] / scale / equations.weight
    xy = rest[:count, count:] / scale[:, None] / equations.weight
    if not bool(to_float64(cross).isfinite().all() & to_float64(xy).isfinite().all()):
        raise out_of_range("a variance")
    norm = (scaled.rounded_square / to_float64(equations.weight)).sqrt()
    return StandardizedEquations(
        cross=cross,
        xy=xy,
        roundoff=4 * equations.roundoff,
        norm=norm[penalized] / to_float64(scale),
        target_norm=norm[targets],
        square=diagonal(rest)[count:] / equations.weight,
        variation=to_float64(scaled.total / equations.weight),
        penalized=penalized,
        unpenalized=kept,
        target_exponent=scaled.exponent[d:],
        fixed_terms=equations.intercept + len(kept),
        rows=equations.rows,
        log_weight=equations.log_weight,
        weight=ldexp(to_float64(equations.weight), equations.weight_exponent),
        features=d,
        intercept=equations.intercept,
        scale=scale,
        exponent=scaled.exponent,
        unpenalized_solution=solution[:, count:],
        projection=solution[:, :count],
        mean=scaled.mean,
    )


def _divide_columns(
    scaled: ScaledEquations[Number], features: int, unpenalized: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the columns with a penalty that are not constant, and those without a penalty."""
    has_penalty = torch.ones(features, dtype=torch.bool)
    has_penalty[list(unpenalized)] = False
    squares = to_float64(scaled.cross).diagonal()[:features]
    varies = squares > scaled.tolerance[:features]
    return (has_penalty & varies).nonzero().flatten(), (~has_penalty).nonzero().flatten()


def _project(
    equations: NormalEquations[Number],
    scaled: ScaledEquations[Number],
    fixed: Tensor,
    penalized: Tensor,
) -> tuple[Number, Number, Tensor, Tensor]:
    """Project penalised columns and targets onto what the fixed columns leave of them.

    Return the cross-products of these residuals, the coefficients of the fixed columns, and the
    fixed and the penalised columns that are no combinations of other fixed ones.
    """
    cross = scaled.cross
    others = torch.cat((penalized, torch.arange(equations.features, len(cross))))
    if not len(fixed):
        return cross[others][:, others], cross[fixed][:, others], fixed, penalized
    order = torch.cat((fixed, others))
    max_rank = min(len(fixed), max(0, equations.rows - equations.intercept))
    factorization = factor_independent(
        cross[order][:, order], scaled.mean[order], equations.weight,
        scaled.tolerance[fixed], max_rank,
    )  # fmt: skip
    kept, solution = fixed[factorization.kept], factorization.solution
    whitened = matrix_product(factorization.inverse_factor.mT, cross[kept][:, others])
    rest = cross[others][:, others] - matrix_product(whitened.mT, whitened)
    # As in `solve`: the rounding errors of a column, and of its fit.
    count, error = len(penalized), scaled.tolerance.sqrt()
    size = to_float64(solution)[:, :count].abs()
    rounding = error[penalized] + (size * error[kept, None]).sum(0)
    varies = to_float64(rest).diagonal()[:count] > rounding.square()
    places = torch.cat((varies, varies.new_ones(len(others) - count))).nonzero().flatten()
    return rest[places][:, places], solution[:, places], kept, penalized[varies]


def repeat_columns(matrix: DoubleDouble, count: int) -> DoubleDouble:
    """Return copies of a matrix side by side."""
    return DoubleDouble(matrix.high.repeat(1, count), matrix.low.repeat(1, count))


def largest_alpha(equations: StandardizedEquations[Number], l1_ratio: float = 1.0) -> Tensor:
    """Return the smallest alpha that makes all penalised coefficients 0; (targets,).

    alpha_max = max_j |h_j| / max(l1_ratio, 0.001). Ridge has none: at `l1_ratio` 0 the covariances
    are divided by the standard deviation of the target, so that alpha does not depend on its unit.
    """
    count, targets = len(equations.penalized), len(equations.target_exponent)
    xy = to_float64(equations.xy).abs() if count else torch.zeros(1, targets).double()
    largest = xy.amax(0) / max(l1_ratio, _SMALLEST_L1_RATIO)
    if l1_ratio == 0:
        deviation = to_float64(equations.square).clamp(min=0.0).sqrt()
        return torch.where(deviation > 0, largest / deviation, 0.0)
    return ldexp(largest, equations.target_exponent)


def alpha_grid(
    equations: StandardizedEquations[Number], l1_ratio: float = 1.0, count: int = 100
) -> Tensor:
    """Return alphas from the largest down, evenly in the logarithm; (count, targets).

    The smallest is 1e-4 of the largest, or 1e-2 where there are no more rows than features; of
    ridge, whose largest is that of `SMALLEST_L1_RATIO`, 1e-7 or 1e-5, so that its grid reaches down
    as far as that of the lasso. Where the largest is 0, as of a constant target, so is the grid.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.batch import Batch
    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [6.0]])))
    >>> alpha_grid(standardize_equations(gram.normal_equations()), count=5)[:, 0]
    tensor([3.0000e+00, 3.0000e-01, 3.0000e-02, 3.0000e-03, 3.0000e-04],
           dtype=torch.float64)
    """
    ratio = 1e-4 if equations.rows > equations.features else 1e-2
    if l1_ratio == 0:
        ratio *= _SMALLEST_L1_RATIO
    steps = ratio ** (torch.arange(count, dtype=torch.float64) / max(count - 1, 1))
    return steps[:, None] * largest_alpha(equations, l1_ratio)
