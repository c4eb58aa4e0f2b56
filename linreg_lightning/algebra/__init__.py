"""The mathematics of exact least squares, on tensors alone.

    rows -> gram (what a pass remembers) -> solve (coefficients) -> inference (the table)

`gram`: sufficient statistics; `gram_exact` has them without rounding (with `products`, sums of
products in whole numbers, and `integers`, numbers of any length), `gram_float64` as fast as one
matrix product; `weights`: what is counted of them. `double_double`: 106-bit arithmetic. `solve`:
coefficients, rank and condition; `digits`: how many of them to trust. `inference`: standard errors,
tests and intervals, with the t and F of `distributions`.
"""

from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.inference import Inference, Prediction, inference, prediction
from linreg_lightning.algebra.solve import Solution, solve

__all__ = [
    "ExactGram",
    "Float64Gram",
    "Gram",
    "Inference",
    "NormalEquations",
    "Prediction",
    "Solution",
    "inference",
    "prediction",
    "solve",
]
