"""The models that a Trainer fits, one LightningModule a file.

    SupervisedModule            named columns, predictions, metrics, checkpoints
    |-- RegressionModule        adds a linear equation and its table of coefficients
    |   |-- LeastSquares      fits groups of rows too; warns of rows that break a collinearity
    |   `-- DescentModule       warns of a fit that has not converged
    |       |-- ManualLinearRegression
    |       `-- LinearRegression    is a StandardizedModule too
    `-- StandardizedModule      adds columns on one scale and row weights of mean 1

A new model overrides these, and its tests go into tests/test_models.py:

    build                   make the parameters for numbers of features and targets
    forward                 predict y, in the user's units, from x
    training_step           return the loss of a batch, through `scale_loss`
    configure_optimizers    return the optimiser
    weight_and_intercept    return the equation (a RegressionModule only)
"""

from linreg_lightning.models.least_squares import LeastSquares as LeastSquares
from linreg_lightning.models.linear import LinearRegression as LinearRegression
from linreg_lightning.models.manual import ManualLinearRegression as ManualLinearRegression
from linreg_lightning.models.regression import RegressionModule as RegressionModule
from linreg_lightning.models.supervised import SupervisedModule as SupervisedModule
