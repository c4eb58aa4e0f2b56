"""Gradient descent in any units: columns on one scale, row weights of mean 1."""

from itertools import compress
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.standardization import Standardization
from linreg_lightning.errors import InputError
from linreg_lightning.metrics.regression import Moments, gather_moments
from linreg_lightning.models.batches import in_precision
from linreg_lightning.models.table import TableModule


class StandardizedModule(TableModule):
    """A model whose layers see columns on one scale, and row weights of mean 1.

    It measures the scales (`standardization`) and `mean_weight` on the training rows before the
    first step. Both are in the checkpoint. A subclass calls `super().build` in its `build`, and its
    `forward` gives `standardized(x)` to its layers. For targets that are numbers it may return
    `standardization.unscale_target(z)` of what its layers predict; classes have no scale.
    """

    standardize: bool = True
    """Whether to standardise the columns; row weights are scaled in any case."""
    has_intercept: bool = True
    """Whether the model has a constant of its own; only with one are means subtracted."""
    standardization: Standardization
    mean_weight: Tensor

    def build(self, in_features: int, out_features: int) -> None:
        """Make the buffers for the scales; a subclass adds its layers."""
        self.standardization = Standardization(in_features, out_features, enabled=self.standardize)
        self.register_buffer("mean_weight", torch.ones((), dtype=torch.float64))

    def standardized(self, x: Tensor) -> Tensor:
        """Return x, (rows, features), on one scale and in the model's precision."""
        return in_precision(self.standardization(x), self.dtype)

    def prepare_batch(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """Return a batch with x standardised, y of mean 0, and row weights of mean 1.

        x and y are in the model's precision; classes stay as they are. The mean is over all
        training rows, not the batch's.
        """
        x, y, weight = self.validate_batch(batch)
        if not self.class_names:
            y = in_precision(self.standardization.subtract_target_mean(y), self.dtype)
        weight = None if weight is None else weight / self.mean_weight
        return Batch(self.standardized(x), y, weight)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """As in `SupervisedModule`, with row weights of mean 1 over all training rows."""
        batch = self.validate_batch(batch)
        if batch.weight is not None:
            batch = batch._replace(weight=batch.weight / self.mean_weight)
        return super().training_step(batch, batch_idx)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse coefficients of standardised columns in a model that does not standardise."""
        super().on_load_checkpoint(checkpoint)
        fitted = checkpoint["state_dict"].get("standardization.fitted")
        if fitted is not None and bool(fitted) and not self.standardize:
            raise InputError(
                "standardize: false was given, but the checkpoint has coefficients of standardised "
                "columns; leave it out, or use another checkpoint"
            )

    def on_train_start(self) -> None:
        """Measure the scales and the mean weight, unless they come from a checkpoint."""
        wrapper = self.trainer.strategy.model
        own = {"mean_weight", *dict(self.standardization.named_buffers("standardization"))}
        buffers = dict(self.named_buffers()).keys()
        if isinstance(wrapper, DistributedDataParallel) and buffers == own:
            # No step changes them, so DDP need not send them to all processes at each step.
            wrapper.broadcast_buffers = False
        if self.trainer.ckpt_path is not None:
            return
        first = next(self.training_batches(), None)
        has_weights = first is not None and first.weight is not None
        if not (self.standardize or has_weights):
            return
        moments, rows = self.training_moments()
        self.mean_weight.copy_(moments.total / rows)
        if self.standardize and not self.standardization.fitted:
            self.standardization.fit(moments, self.has_intercept, self.columns.intercept)
            constant = ", ".join(compress(self.feature_names, self.standardization.scale.isinf()))
            if constant:
                rank_zero_warn(f"These columns do not vary, so the model ignores them: {constant}")

    def training_moments(self) -> tuple[Moments, float]:
        """Moments of the columns of x and y, side by side, and the number of training rows.

        Classes count as columns of zeros, one for each.
        """
        classes = len(self.class_names)
        columns = len(self.feature_names) + (classes or len(self.target_names))
        moments, rows = Moments.of(torch.empty(0, columns, device=self.device)), 0.0
        for batch in self.training_batches():
            x = batch.x.double()
            y = x.new_zeros(batch.rows, classes) if classes else batch.y.double()
            values = torch.cat([x, y], dim=1)
            moments, rows = moments.merge(Moments.of(values, batch.weight)), rows + batch.rows
        return (moments, rows) if self.trainer.world_size == 1 else gather_moments(moments, rows)
