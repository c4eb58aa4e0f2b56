"""A model that says where rows break a collinearity of the rows that it was fitted to."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra import Fit
from linreg_lightning.algebra.collinearity import BrokenRows
from linreg_lightning.batch import Batch
from linreg_lightning.models.grouped import GroupedModule


class CollinearityModule(GroupedModule):
    """Warns once of rows in which a column left out is not the combination that it was in the fit.

    The Trainer's rows are counted in each step, and those of all processes are added up.
    """

    _fit: Fit | None = None
    _broken: BrokenRows | None = None

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """As in `SupervisedModule`."""
        prediction = super().predict_step(batch, batch_idx)
        self._count_broken(batch if isinstance(batch, Tensor) else batch[0])
        return prediction

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self._count_broken(batch[0])

    test_step = validation_step

    def on_predict_epoch_end(self) -> None:
        """Report the rows of all processes."""
        self._report_broken("to predict")

    def on_validation_epoch_end(self) -> None:
        """As in `SupervisedModule`; and report the rows of all processes."""
        super().on_validation_epoch_end()
        self._report_broken("to validate on")

    def on_test_epoch_end(self) -> None:
        """As in `SupervisedModule`; and report the rows of all processes."""
        super().on_test_epoch_end()
        self._report_broken("to test on")

    def _predict_rows(self, x: Tensor) -> Tensor:
        self._warn_of_broken(x)
        return super()._predict_rows(x)

    def _warn_of_broken(self, x: Tensor) -> None:
        if self._fit is not None:
            message = self._fit.broken_rows(self._without_ones(x)).describe()
            if message:
                rank_zero_warn(message)

    def _count_broken(self, x: Tensor) -> None:
        fit = self._fit
        if fit is None or fit.left_out is None:
            return
        if self._broken is None:
            self._broken = fit.broken_rows(x[:0, : len(fit.coefficients)])
        self._broken.add(fit.left_out.broken(self._without_ones(x)))

    def _report_broken(self, purpose: str) -> None:
        fit = self._fit
        if fit is None or fit.left_out is None:
            return
        # A process may have no row.
        counts = self._broken or fit.broken_rows(torch.empty(0, len(fit.coefficients)))
        self._broken = None
        if self.trainer.world_size > 1:
            counts = self._add_up(counts)
        if message := counts.describe(purpose):
            rank_zero_warn(message)

    def _add_up(self, counts: BrokenRows) -> BrokenRows:
        assert counts.by_column is not None
        totals = torch.tensor([counts.rows, counts.broken, *counts.by_column.tolist()])
        totals = totals.to(self.device)
        torch.distributed.all_reduce(totals)
        rows, broken, *_ = totals.tolist()
        return BrokenRows(counts.names, rows, broken, totals[2:].cpu())
