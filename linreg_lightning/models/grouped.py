"""A model that, where the data ask for it, fits each group of rows by itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra import GroupedFit
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.models.centered import CenteredModule
from linreg_lightning.protocols import RowGroups, feature_bits_of
from linreg_lightning.text_table import format_table

_SHOWN_ROWS = 12


class GroupedModule(CenteredModule):
    """Collects the rows of data with groups, and fits these after the last batch.

    The model then has a `group_table` and a `summary`, but no coefficients of its own, so that it
    predicts nothing.
    """

    def __init__(
        self, intercept: bool | None, in_features: int | None, out_features: int | None
    ) -> None:
        super().__init__(intercept, in_features, out_features)
        self.grouped_fit: GroupedFit | None = None
        self._row_groups: tuple[list[str], Tensor] | None = None
        self._batches: list[Batch] = []

    def group_table(self) -> dict[str, list[Any]] | None:
        """The columns of the table of groups; None where no groups were fitted.

        It has a row for each group, target and term. Its columns: `group`, `rows`, `target` where
        there are several, `term`, `estimate`, `std_error`, `t`, `p`, `ci_low`, `ci_high`.
        """
        return None if self.grouped_fit is None else self._table(self.grouped_fit)

    def summary(self) -> str:
        """As in `RegressionModule`; after a fit of groups, the first groups of their table."""
        if self.grouped_fit is None:
            return super().summary()
        shown = max(1, _SHOWN_ROWS // self.grouped_fit.estimate[0].numel())
        columns = self._table(self.grouped_fit, shown)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        count = len(self.grouped_fit.groups)
        first = f", the first {shown} of them above" if count > shown else ""
        total = int(self.grouped_fit.rows.sum())
        return f"{format_table(rows)}\n{count} groups{first}; {total} rows"

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

    def _begin_groups(self, ridge: float, accuracy: str) -> bool:
        """Return whether the data have groups; refuse what cannot be done with these."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._row_groups = data.row_groups() if isinstance(data, RowGroups) else None
        self._batches = []
        if self.trainer.ckpt_path is not None and (self.grouped_fit or self._row_groups):
            raise InputError("ckpt_path: groups are fitted in one go; start anew without ckpt_path")
        self.grouped_fit = None
        if self._row_groups is None:
            return False
        if self.trainer.world_size > 1:
            text = f"{self.trainer.world_size} processes were started, and one fits all groups"
            raise InputError(f"by: {text}; give the Trainer devices=1")
        for name, value, usual in (("ridge", ridge, 0.0), ("accuracy", accuracy, "auto")):
            if value != usual:
                text = f"{name}: {value} was given, and groups are fitted with {usual} only"
                raise InputError(f"{text}; leave it out")
        return True

    def _add_to_groups(self, batch: Batch, constant: bool, confidence: float) -> bool:
        """Keep the rows of a batch if there are groups, and fit after the last batch."""
        if self._row_groups is None:
            return False
        self._take_step(lambda: self._batches.append(batch))
        if self.trainer.is_last_batch:
            rows = Batch.concatenate(self._batches).map(Tensor.cpu)
            names, group = self._row_groups
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            bits = feature_bits_of(data, self.columns.intercept)
            group = group[: rows.rows]  # the Trainer may limit the batches
            options: Any = {"intercept": constant, "confidence": confidence, "bits": bits}
            self.grouped_fit = GroupedFit.from_rows(rows, group, names, **options)
            self._batches = []
            for message in self.grouped_fit.diagnostics():
                rank_zero_warn(message)
            groups = len(self.grouped_fit.groups)
            self.fit_statistics = {"rows": int(self.grouped_fit.rows.sum()), "groups": groups}
        return True

    def _refuse_unfitted(self, what: str) -> None:
        self._refuse_groups(what)
        super()._refuse_unfitted(what)

    def _refuse_groups(self, what: str) -> None:
        if self.grouped_fit is not None:
            raise InputError(
                f"{what}: each of the {len(self.grouped_fit.groups)} groups has coefficients of "
                "its own; take them from groups.csv or `grouped_fit`, or fit the rows of one group"
            )

    def _table(self, fit: GroupedFit, groups: int | None = None) -> dict[str, list[Any]]:
        """Return the columns of the table of the first groups, or of all."""
        terms = [name for name in self.feature_names if name != "intercept"]
        if fit.estimate.shape[1] > len(terms):
            terms = ["intercept", *terms]
        names, targets = fit.groups[:groups], self.target_names
        size = len(terms) * len(targets)
        columns: dict[str, list[Any]] = {
            "group": [name for name in names for _ in range(size)],
            "rows": fit.rows[:groups].repeat_interleave(size).tolist(),
        }
        if len(targets) > 1:
            columns["target"] = [target for target in targets for _ in terms] * len(names)
        columns["term"] = terms * (len(targets) * len(names))
        numbers = {"estimate": fit.estimate, "std_error": fit.standard_error, "t": fit.t}
        numbers |= {"p": fit.p, "ci_low": fit.low, "ci_high": fit.high}
        for name, values in numbers.items():
            columns[name] = values[:groups].mT.flatten().tolist()
        return columns
