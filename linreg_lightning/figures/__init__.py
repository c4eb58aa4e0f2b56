"""Pictures of a fit: pure functions from data to a matplotlib Figure, one picture a file.

They know nothing of models, Trainers or files, and leave matplotlib's global state alone. `style`
is the one look of them all. To import this room is to import matplotlib: callers do when they draw.

>>> import torch
>>> from linreg_lightning.figures import Points, png, predicted
>>> y = torch.arange(5.0)
>>> png(predicted([Points("training", y, y + 0.1)], target="y"))[1:4]
b'PNG'
"""

from linreg_lightning.figures.coefficients import coefficients
from linreg_lightning.figures.descent import descent
from linreg_lightning.figures.loss_surface import LossSurface
from linreg_lightning.figures.points import Points
from linreg_lightning.figures.predicted import predicted
from linreg_lightning.figures.residuals import residuals
from linreg_lightning.figures.style import png

__all__ = [
    "LossSurface",
    "Points",
    "coefficients",
    "descent",
    "png",
    "predicted",
    "residuals",
]
