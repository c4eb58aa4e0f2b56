"""How well predictions fit, and how far a fit is from its optimum."""

from linreg_lightning.metrics.regression import RegressionMetrics as RegressionMetrics
