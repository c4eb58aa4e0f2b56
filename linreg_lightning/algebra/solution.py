"""`Solution`: coefficients in scaled units, and what inference needs of them."""

from typing import Generic, NamedTuple

from torch import Tensor

from linreg_lightning.algebra.double_double import Number, to_float64
from linreg_lightning.algebra.gram import NormalEquations


class Solution(NamedTuple, Generic[Number]):
    """The least-squares solution, and what inference needs of it.

    The first part is in the user's units. The second is scaled, so that nothing overflows: column i
    (features, then targets) is in units of c_i = 2^exponent[i], weights in units of
    v = 2^weight_exponent.
    """

    coefficients: Tensor  # (features, targets) float64; NaN for columns in `collinear`
    intercept: Tensor  # (targets,) float64; zeros where none was fitted
    collinear: tuple[int, ...]  # columns left out as linear combinations of earlier ones and of 1
    rank: int  # the number of coefficients fitted, the intercept included
    # The 2-norm condition number of the columns kept, less their means if there is an intercept,
    # each scaled to length 1, ridge included; 1 for orthogonal columns. For more than 512 columns
    # an estimate, right to about three digits.
    condition: float
    # As in `Fit`; 0 where `float64` left a column out: only `exact` can tell whether that is a
    # combination.
    digits: float
    error_digits: float  # as in `Fit`; 0 where the residuals are too small for `float64`
    ridge: float

    scaled_coefficients: Number  # (kept, targets)
    scaled_intercept: Tensor  # (targets,) float64
    residual: Number  # sum of w r^2 in units of v c_y^2, 0 where it cannot be seen; (targets,)
    total: Number  # sum of w (y - mean)^2, without an intercept of w y^2, likewise
    has_constant: bool  # an intercept, or columns that hold one (`find_constant`)
    variation: Number  # `total`, but around the mean if `has_constant`; r2 compares to it
    # (X'WX)^-1 of the columns kept, in units of 1 / (v c_i c_j); (kept, kept) float64
    inverse: Tensor
    inverse_diagonal: Number  # its diagonal, (kept,)
    intercept_inverse: Number  # 1 / sum(w) + mean' (X'WX)^-1 mean, in units of 1 / v; ()
    factor: Tensor  # R with R'R = X'WX of the columns kept; (kept, kept) float64
    inverse_factor: Number  # R^-1, (kept, kept)
    kept: Tensor  # the columns not left out, (kept,) int64
    exponent: Tensor  # (features + targets,) int64
    equations: NormalEquations[Number]

    @property
    def absorbed(self) -> int:
        """How many effects of levels were absorbed: columns and targets are what these leave.

        They count in the degrees of freedom, not in `rank`.
        """
        return self.equations.absorbed

    @property
    def residuals_seen(self) -> bool:
        """Whether every target has a residual above 0, but for constant targets."""
        return bool(((to_float64(self.residual) > 0) | (to_float64(self.total) == 0)).all())

    @property
    def df_residual(self) -> int:
        """The residual degrees of freedom, n - k; 0 or less where nothing is left."""
        return self.equations.rows - self.rank - self.absorbed
