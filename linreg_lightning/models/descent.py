"""The base of models fitted step by step, which checks at the end that the fit has converged."""

from __future__ import annotations

import math
from abc import ABC
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra import Fit
from linreg_lightning.algebra.gram_state import GramState
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.metrics.residual_moments import ResidualMoments
from linreg_lightning.models.regression import RegressionModule
from linreg_lightning.protocols import ReadsInChunks

TOLERANCE = 0.05
"""The fraction of the loss that changing one coefficient alone may still save."""
_ROWS = 1 << 14  # added at a time, so that temporary copies fit into the cache
_MAX_FEATURES = 1000  # whose cross-products take no noticeable time


class DescentModule(RegressionModule, ABC):
    """A linear model whose fit ends when the Trainer stops it, converged or not.

    At the end of a fit one pass over the training rows measures `fit_statistics`, and with them the
    gradient of the loss. A warning says that the fit has not converged if changing one coefficient,
    or the constant, alone would lower the squared error of a target by more than 5 %
    (`TOLERANCE`), and by more than a millionth of the target's variance. For a
    feature this fraction is the squared correlation of its column with the residuals, whatever the
    units of the column: the gradient on standardised columns in units of the residuals. At the
    optimum it is 0. Steps of mini-batches leave about lr / batch_size, such as 0.3 % at 0.1 and 32.
    With weight decay, whose optimum has another gradient, there is no warning.

    Without an intercept, one pass before the first step finds out whether the columns hold a
    constant all the same, as in `Fit`; if not, r2 is uncentered. For data without chunks
    (`ReadsInChunks`), or with more than a thousand features, the intercept alone decides.

    The fit has diverged, an InputError, if a loss is NaN or infinite; or if at the end the loss is
    above ten times that of the first step, and above ten times the mean square of the targets.
    """

    lr: float
    _first_loss: float | None = None
    _residuals: ResidualMoments | None = None

    def on_train_start(self) -> None:
        """Forget the loss of an earlier fit; choose the r2 of a model without an intercept."""
        self._first_loss = None
        super().on_train_start()
        self.r2_uncentered = not self._declares_constant and not self._finds_constant()

    def on_train_end(self) -> None:
        """Measure the fit; warn if it has not converged."""
        # A batch of no rows gives the sums their shapes and device.
        features, targets = len(self.feature_names), len(self.target_names)
        empty = torch.zeros(0, features + targets, dtype=torch.float64, device=self.device)
        no_rows = Batch(empty[:, :features], empty[:, features:])
        self._residuals = ResidualMoments.of(no_rows, no_rows.y)
        super().on_train_end()
        residuals, self._residuals = self._residuals, None
        if self.trainer.world_size > 1:
            residuals = residuals.gather()
        if self.fit_statistics:
            self._check_end(residuals)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["r2_uncentered"] = self.r2_uncentered

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As in `RegressionModule`; r2 was always centered in earlier versions."""
        super().on_load_checkpoint(checkpoint)
        self.r2_uncentered = checkpoint.get("r2_uncentered", False)

    @property
    def _declares_constant(self) -> bool:
        return self.has_intercept or self.columns.intercept is not None

    def _finds_constant(self) -> bool:
        """Return whether a linear combination of the columns is 1 in all training rows."""
        features, targets = len(self.feature_names), len(self.target_names)
        reads_again = isinstance(self.trainer.train_dataloader, ReadsInChunks)
        if not reads_again or features > _MAX_FEATURES:
            return False
        sums, processes = GramState("float64"), self.trainer.world_size
        sums.begin_pass(features, targets, self.device, second=False)
        for batch in self.training_batches():
            sums.add(batch, processes, self.feature_names + self.target_names)
        return Fit.from_gram(sums.total(processes), intercept=False).solution.has_constant

    def _add_to_metrics(self, batch: Batch, prediction: Tensor) -> None:
        super()._add_to_metrics(batch, prediction)
        if self._residuals is None:
            return
        for start in range(0, batch.rows, _ROWS):
            rows = slice(start, start + _ROWS)
            part = ResidualMoments.of(batch.select(rows), prediction[rows])
            self._residuals = self._residuals.merge(part)

    def _check_end(self, residuals: ResidualMoments) -> None:
        """Raise an InputError after a divergence; warn of a fit that has not converged."""
        loss, first = self.fit_statistics["loss"], self._first_loss or 0.0
        if loss > 10 * max(first, residuals.target_mean_square):
            raise self._diverged(f"the loss rose from {first:.3g} to {loss:.3g}")
        optimizers = self.trainer.optimizers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        decays = any(group.get("weight_decay") for group in groups)
        if decays or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        precision = torch.finfo(next(self.parameters()).dtype).eps
        savings = residuals.savings(self._declares_constant, precision).amax(dim=1)
        saving, place = savings.max(dim=0)
        if saving > TOLERANCE:
            name = ["intercept", *self.feature_names][int(place)]
            remedies = [*self._scale_remedy(), "train for more epochs", "change lr"]
            rank_zero_warn(
                f"the fit has not converged: changing the coefficient {name} alone would lower the "
                f"loss by {100 * saving:.0f}%; {', or '.join(remedies)} ({self.lr:g} was given)"
            )

    def _stop_if_diverged(self, loss: float) -> None:
        if self._first_loss is None:
            self._first_loss = loss
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}")

    def _diverged(self, reason: str) -> InputError:
        remedies = [*self._scale_remedy(), "lower lr"]
        arguments = "standardize, lr" if "standardize" in self.hparams and remedies[1:] else "lr"
        return InputError(
            f"{arguments}: {reason}: the fit has diverged; {', or '.join(remedies)} "
            f"({self.lr:g} was given)"
        )

    def _scale_remedy(self) -> list[str]:
        """Return the advice to standardise, or nothing if the columns are standardised already."""
        if "standardize" not in self.hparams:
            return ["use LinearRegression with standardize true"]
        return [] if self.hparams["standardize"] else ["set standardize to true"]
