"""The mathematics of least squares on tensors; it imports torch and no Lightning.

    rows -> gram (what a pass remembers) -> solve (coefficients) -> inference (standard errors)

`least_squares`: the whole way in one call. `fit`: `Fit`, its result. `gram`: sufficient statistics;
`gram_exact` sums without rounding (`multiprecision`: whole numbers of any length; `compiled_sums`
and `exact_kernel`: the same sums of many rows by numba, where it is installed), `gram_float64`
as fast as one matrix product (`cross_products`, `shifted_sums`); `gram_state`: statistics over
passes, processes and checkpoints; `gram_columns`: with other columns; `precision`: how precise the
rows were.
`solve`: coefficients from the factor of `cholesky` (exact ones of few columns in whole numbers of
Python), and how many of their digits are correct (`solution`). `inference`: tests and intervals
(`student_t`: of many fits at a time).
`robust_errors`: the kinds of standard errors, their corrections and degrees of freedom; `robust`:
those of rows in memory, by the sums of `scores` (`row_scores`: of each row; `cluster_sums`: by
cluster; `meat`: the products of them). `keys`: numbers for clusters and levels.
`fixed_effects`: effects of levels, absorbed from `level_sums` (`two_way_effects`: of two columns).
`row_diagnostics`: influence of rows, and sums for tests (`kept_rows`: rows to list and to draw);
`diagnostics`: their result, and VIF and condition indices; `diagnostic_sentences`: what they mean.
`prediction`: those of new rows. `double_double`: 106-bit arithmetic.
`collinearity`: new rows that break one. `notes`: what a user should know of a fit.
`hypotheses`: tests of linear ones, which `hypothesis_text` reads (`chi_squared`: its tail).
`comparison`: two fits side by side; `nested`: whether one is part of the other, and their tests.
`fit_table`: fits as named tables.
`penalty_scale`: objectives with a penalty in standardized coefficients, the units of alpha.
`ridge_path`: ridge fits for many penalties; `elastic_net`: lasso and elastic net (by
`active_inverses`). `selection_criteria`: AIC, BIC, Cp and others.
`grouped`: a fit for each group of rows, by `batched_fit`.
`folds`: which fold of a cross-validation a row is in; `fold_sums`: a Gram matrix for each fold;
`held_out_errors`: of held-out rows, from their sums.
`select_penalty`: from rows to a `Selection` (`selection_result`). `selection`: from sums of folds
to the choice, by `selection_paths` (fits of all folds) and `cross_validation` (their errors);
`selection_options`: its arguments; `selection_table`, `selection_json` and
`selection_notes`: its reports.
"""

from linreg_lightning.algebra.comparison import compare as compare
from linreg_lightning.algebra.fit import Fit as Fit
from linreg_lightning.algebra.gram import Gram as Gram, NormalEquations as NormalEquations
from linreg_lightning.algebra.gram_exact import ExactGram as ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram as Float64Gram
from linreg_lightning.algebra.grouped import (
    GroupedFit as GroupedFit,
    grouped_least_squares as grouped_least_squares,
)
from linreg_lightning.algebra.least_squares import least_squares as least_squares
from linreg_lightning.algebra.prediction import Prediction as Prediction
from linreg_lightning.algebra.select_penalty import select_penalty as select_penalty
from linreg_lightning.algebra.selection_result import Selection as Selection
from linreg_lightning.algebra.solution import Solution as Solution
from linreg_lightning.algebra.solve import solve as solve
