"""A model that, where the data ask for it, fits each group of rows by itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra import GroupedFit
from linreg_lightning.algebra.robust_errors import ErrorOptions
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.models.one_pass import OnePassModule
from linreg_lightning.models.one_pass_checks import stopped
from linreg_lightning.protocols import RowGroups, feature_bits_of
from linreg_lightning.text_table import Report


class GroupedModule(OnePassModule):
    """Collects the rows of data with groups, and fits these after the last batch.

    The model then has a `group_table` and a `summary`, but no coefficients of its own, so that it
    predicts nothing.
    """

    error_options: ErrorOptions

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.grouped_fit: GroupedFit | None = None
        self._row_groups: tuple[list[str], Tensor] | None = None
        self._batches: list[Batch] = []

    def group_table(self) -> dict[str, list[Any]] | None:
        """The columns of the table of groups; None where no groups were fitted.

        It has a row for each group, target and term. Its columns: `group`, `rows`, `target` where
        there are several, `term`, `estimate`, `std_error`, `t`, `p`, `ci_low`, `ci_high`.
        """
        if self.grouped_fit is None:
            return None
        columns = self.grouped_fit.table(*self._names())
        if len(self.target_names) == 1:
            columns.pop("target")
        return columns

    def __repr__(self) -> str:
        """As in `RegressionModule`; after a fit of groups, with their number."""
        if self.grouped_fit is None:
            return super().__repr__()
        return self.grouped_fit.titled_repr(self._title())

    def _report(self) -> Report:
        """As in `RegressionModule`; after a fit of groups, the first groups of their table."""
        if self.grouped_fit is None:
            return super()._report()
        return self.grouped_fit.report(self._title(), *self._names(), self._base_levels())

    def _frame_columns(self) -> dict[str, list[Any]]:
        if self.grouped_fit is None:
            return super()._frame_columns()
        return self.grouped_fit.table(*self._names())

    def forward(self, x: Tensor) -> Tensor:
        """As in `CenteredModule`; after a fit of groups: an InputError."""
        self._refuse_groups("prediction")
        return super().forward(x)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        fit = self.grouped_fit
        if fit is not None:
            checkpoint["groups"] = {each.name: getattr(fit, each.name) for each in fields(fit)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As in `RegressionModule`, with the fits of groups."""
        super().on_load_checkpoint(checkpoint)
        if "groups" in checkpoint:
            self.grouped_fit = GroupedFit(**checkpoint["groups"])

    def on_train_end(self) -> None:
        """As in `OnePassModule`, also of a fit of groups."""
        super().on_train_end()
        if self._batches:
            raise stopped()

    def _start_sums(self) -> None:
        """Keep the rows instead if the data have groups; refuse what cannot be done with these."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._row_groups = data.row_groups() if isinstance(data, RowGroups) else None
        self._batches = []
        if self.trainer.ckpt_path is not None and (self.grouped_fit or self._row_groups):
            raise InputError("ckpt_path: groups are fitted in one go; start anew without ckpt_path")
        self.grouped_fit = None
        if self._row_groups is None:
            super()._start_sums()
            return
        if self.trainer.world_size > 1:
            text = f"{self.trainer.world_size} processes were started, and one fits all groups"
            raise InputError(f"by: {text}; give the Trainer devices=1")
        given = ("ridge", self.ridge, 0.0), ("accuracy", self.accuracy, "auto")
        errors = "errors", self.error_options.kind, "classical"
        for name, value, usual in (*given, errors):
            if value != usual:
                text = f"{name}: {value} was given, and groups are fitted with {usual} only"
                raise InputError(f"{text}; leave it out")

    def _add_rows(self, batch: Batch, fold: Tensor | None) -> None:
        """Keep the rows of a batch if there are groups, and fit after the last batch."""
        if self._row_groups is None:
            super()._add_rows(batch, fold)
            return
        self._take_step(lambda: self._batches.append(batch))
        if self.trainer.is_last_batch:
            self._fit_groups(*self._row_groups)

    def _fit_groups(self, names: list[str], group: Tensor) -> None:
        rows = Batch.concatenate(self._batches).map(Tensor.cpu)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        bits = feature_bits_of(data, self.columns.intercept)
        group = group[: rows.rows]  # the Trainer may limit the batches
        options: Any = {"intercept": self._has_constant, "confidence": self.confidence}
        self.grouped_fit = GroupedFit.from_rows(rows, group, names, bits=bits, **options)
        self._batches = []
        for message in self.grouped_fit.notes():
            rank_zero_warn(message)
        groups = len(self.grouped_fit.groups)
        self.fit_statistics = {"rows": int(self.grouped_fit.rows.sum()), "groups": groups}

    def _refuse_unfitted(self, what: str) -> None:
        self._refuse_groups(what)
        super()._refuse_unfitted(what)

    def _refuse_groups(self, what: str) -> None:
        if self.grouped_fit is not None:
            raise InputError(
                f"{what}: each of the {len(self.grouped_fit.groups)} groups has coefficients of "
                "its own; take them from groups.csv or `grouped_fit`, or fit the rows of one group"
            )

    def _names(self) -> tuple[list[str], list[str]]:
        """Return the names of the features without a column of ones, and of the targets."""
        return self._variable_names, self.target_names
