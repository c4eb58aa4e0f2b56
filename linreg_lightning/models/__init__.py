"""The models that a Trainer fits, one LightningModule a file.

    SupervisedModule                y from x, both of any shape: loss, metrics, checkpoints
    `-- TableModule                 adds named columns, and predictions of data frames
        |-- StandardizedModule      adds columns on one scale and row weights of mean 1
        `-- RegressionModule        adds a linear equation and its table of coefficients
            |-- OnePassModule       adds up sums over the rows, and solves these
            |   |-- LeastSquares    fits groups of rows too; warns of broken collinearities; reads
            |   |                   rows again for robust errors and absorbed effects (later_passes)
            |   `-- RegularizedLeastSquares     chooses a penalty by cross-validation
            `-- DescentModule       warns of a fit that has not converged
                |-- ManualLinearRegression
                `-- LinearRegression    is a StandardizedModule too

A new model overrides these, and its tests go into tests/test_models.py:

    build                   make the parameters for numbers of features and targets (of tables
                            only; other models make them in __init__)
    forward                 predict y, in the user's units, or classes, from x
    row_loss                return the loss of each row
    configure_optimizers    return the optimiser
    make_metrics            return what to measure beside the loss
    weight_and_intercept    return the equation (a RegressionModule only)
"""

from linreg_lightning.models.least_squares import LeastSquares as LeastSquares
from linreg_lightning.models.linear import LinearRegression as LinearRegression
from linreg_lightning.models.manual import ManualLinearRegression as ManualLinearRegression
from linreg_lightning.models.regression import RegressionModule as RegressionModule
from linreg_lightning.models.regularized import RegularizedLeastSquares as RegularizedLeastSquares
from linreg_lightning.models.standardized import StandardizedModule as StandardizedModule
from linreg_lightning.models.supervised import SupervisedModule as SupervisedModule
from linreg_lightning.models.table import TableModule as TableModule
