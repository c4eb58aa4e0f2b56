"""Pictures of a fit: pure functions from data to a matplotlib Figure, one picture a file.

They know nothing of models, Trainers or files, and leave matplotlib's global state alone. `style`
is the one look of them all. To import this room is to import matplotlib: callers do when they draw.

>>> import torch
>>> from linreg_lightning.plots import Points, png, predicted
>>> y = torch.arange(5.0)
>>> png(predicted([Points("training", y, y + 0.1)], target="y"))[1:4]
b'PNG'
"""

from linreg_lightning.plots.coefficients import coefficients
from linreg_lightning.plots.descent import descent
from linreg_lightning.plots.loss_surface import LossSurface
from linreg_lightning.plots.points import Points
from linreg_lightning.plots.predicted import predicted
from linreg_lightning.plots.residuals import residuals
from linreg_lightning.plots.style import png

__all__ = [
    "LossSurface",
    "Points",
    "coefficients",
    "descent",
    "png",
    "predicted",
    "residuals",
]
