"""Plots of a fit: pure functions from data to a matplotlib Figure, one plot a file.

`style.py` gives all plots the same look; `scale.py` formats numbers of any magnitude. Importing
this package imports matplotlib, so callers import it only when they draw.

To add a plot, write a `@styled` function here in a file of its own and list it below. A model draws
it by a call in its `figures`; the plots of every regression are drawn in
`callbacks/regression_figures.py`, and those of `linreg diagnose` in
`callbacks/diagnostic_figures.py`, with rows named by `row_labels.py`.

>>> import torch
>>> from linreg_lightning.plots import SplitPredictions, png, predicted
>>> y = torch.arange(5.0)
>>> png(predicted([SplitPredictions("training", y, y + 0.1)], target="y"))[1:4]
b'PNG'
"""

from linreg_lightning.plots.coefficients import coefficients as coefficients
from linreg_lightning.plots.confusion_matrix import confusion_matrix as confusion_matrix
from linreg_lightning.plots.cross_validation import cross_validation as cross_validation
from linreg_lightning.plots.descent import LossSurface as LossSurface, descent as descent
from linreg_lightning.plots.image_grid import image_grid as image_grid
from linreg_lightning.plots.leverage import leverage as leverage
from linreg_lightning.plots.line import (
    FittedLine as FittedLine,
    SplitRows as SplitRows,
    line as line,
)
from linreg_lightning.plots.partial_regression import partial_regression as partial_regression
from linreg_lightning.plots.penalty_path import penalty_path as penalty_path
from linreg_lightning.plots.predicted import (
    SplitPredictions as SplitPredictions,
    predicted as predicted,
)
from linreg_lightning.plots.qq import qq as qq
from linreg_lightning.plots.residuals import residuals as residuals
from linreg_lightning.plots.scale_location import scale_location as scale_location
from linreg_lightning.plots.style import png as png
