"""The mathematics of least squares on tensors; it imports torch and no Lightning.

    rows -> gram (what a pass remembers) -> solve (coefficients) -> inference (standard errors)

`least_squares`: the whole way in one call, and `Fit`, its result. `gram`: sufficient statistics;
`gram_exact` sums without rounding (`multiprecision`: whole numbers of any length), `gram_float64`
as fast as one matrix product (`cross_products`); `gram_state`: statistics over passes, processes
and checkpoints; `precision`: how precise the rows were.
`solve`: coefficients by the `sweep` operator, and how many of their digits are correct.
`inference`: tests and intervals. `double_double`: 106-bit arithmetic.
"""

from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.inference import Prediction
from linreg_lightning.algebra.least_squares import Fit, least_squares
from linreg_lightning.algebra.solve import Solution, solve

__all__ = [
    "ExactGram",
    "Fit",
    "Float64Gram",
    "Gram",
    "NormalEquations",
    "Prediction",
    "Solution",
    "least_squares",
    "solve",
]
