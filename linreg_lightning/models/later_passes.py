"""A linear model that reads its rows again: for robust standard errors, and to absorb effects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from linreg_lightning.algebra.fixed_effects import AbsorbedEffects, Absorption
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_state import PassShape, gram_from_state, gram_state
from linreg_lightning.algebra.robust_errors import RobustErrors
from linreg_lightning.batch import Batch, KeyBatch
from linreg_lightning.errors import InputError
from linreg_lightning.models import sampled_rows
from linreg_lightning.models.collinearity import CollinearityModule
from linreg_lightning.models.columns import ModelColumns
from linreg_lightning.models.later_pass_checks import check_keys, check_order, check_resumed
from linreg_lightning.models.one_pass_checks import raise_max_epochs
from linreg_lightning.models.row_pass import RowPass, demeaned_pass, level_pass, score_pass
from linreg_lightning.protocols import HasKeys


class DemeanedRows(NamedTuple):
    """What is kept of rows whose effects were absorbed."""

    gram: Gram  # of the rows less their effects
    effects: AbsorbedEffects


class LaterPassesModule(CollinearityModule):
    """Reads all rows again after the first pass, where the standard errors or the data ask for it.

    Levels to absorb take a pass for the sums of each level and one over the rows less their
    effects; robust standard errors take one pass over the residuals.
    """

    cluster_names: tuple[str, ...] = ()
    """The columns of clusters of the rows that the model is fitted to."""
    absorbed_names: tuple[str, ...] = ()
    """The columns whose levels have effects that the fit absorbs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._row_pass: RowPass | None = None
        self._resumed_state: dict[str, Any] | None = None  # of a checkpoint in a pass of scores
        self._absorption: Absorption | None = None
        self._demeaned: DemeanedRows | None = None
        self._robust_errors: RobustErrors | None = None

    @abstractmethod
    def _set_errors(self, errors: RobustErrors) -> None:
        """Take the robust errors into the fit and its statistics."""

    def set_keys(self, clusters: Sequence[str], absorbed: Sequence[str]) -> None:
        """Take the columns of clusters and of effects to absorb.

        Raises:
            InputError: clusters without errors cluster, or these without clusters; effects with a
                penalty or a constant.
        """
        check_keys(self.error_options, self.ridge, self.fit_intercept, clusters, absorbed)
        self.cluster_names, self.absorbed_names = tuple(clusters), tuple(absorbed)

    def setup(self, stage: str) -> None:
        """As in `OnePassModule`; and take the columns of clusters and effects from the data."""
        trainer: Any = self.trainer
        data = trainer.datamodule
        if stage == "fit":
            has_keys = isinstance(data, HasKeys)
            clusters = data.cluster_names if has_keys else []
            self.set_keys(clusters, data.absorbed_names if has_keys else [])
            if trainer.fast_dev_run and self._needs_later_passes:
                what = "absorb" if self.absorbed_names else "errors"
                raise InputError(
                    f"{what}: it needs several passes over the rows, and fast_dev_run takes one "
                    f"batch; leave {what} or fast_dev_run out"
                )
        super().setup(stage)

    def error_description(self) -> dict[str, Any]:
        """Which robust standard errors the table has, by name; empty for classical ones."""
        return {} if self._robust_errors is None else self._robust_errors.description()

    def forward(self, x: Tensor) -> Tensor:
        """As in `GroupedModule`; after a fit that has absorbed effects: an InputError."""
        self._refuse_absorbed("predict")
        return super().forward(x)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        state: dict[str, Any] = {"absorbed": list(self.absorbed_names)}
        if self._demeaned is not None:
            gram, effects = self._demeaned
            state |= {"demeaned": gram_state(gram), "effects": effects.state_dict()}
        if self._robust_errors is not None:
            state["errors"] = self._robust_errors.state_dict()
        if self._row_pass is not None:
            state |= {"pass": self._row_pass.purpose, "options": {**vars(self.error_options)}}
            state["shape"] = self._pass_shape._asdict()
            if self._row_pass.purpose == "scores" and not self.absorbed_names:
                state["sums"] = self._row_pass.state_dict(self.trainer.world_size)
        if len(state) > 1 or self.absorbed_names:
            checkpoint["later_passes"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As in `OnePassModule`, with the errors and the effects; go on with a pass of scores."""
        state = checkpoint.get("later_passes", {})
        is_fit = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        first = checkpoint["statistics"]["partial"] is not None
        absorbs = bool(state.get("absorbed") or self.absorbed_names)
        check_resumed(self.error_options, state, absorbs, first, is_fit)
        self.absorbed_names = tuple(state.get("absorbed", []))
        if "demeaned" in state:
            total: Any = gram_from_state(checkpoint["statistics"]["done"])
            gram: Any = gram_from_state(state["demeaned"])
            effects = AbsorbedEffects.from_state_dict(state["effects"], total)
            self._demeaned = DemeanedRows(gram, effects)
        if "errors" in state and self.error_options.kind != "classical":
            self._robust_errors = RobustErrors.from_state_dict(state["errors"])
        self._resumed_state = state if "pass" in state else None
        super().on_load_checkpoint(checkpoint)

    @property
    def _needs_later_passes(self) -> bool:
        return self.error_options.kind != "classical" or bool(self.absorbed_names)

    def on_train_start(self) -> None:
        """As in `OnePassModule`; a new fit forgets the effects and the errors of the last one."""
        if self.trainer.ckpt_path is None:
            self._row_pass = self._absorption = self._demeaned = self._robust_errors = None
        super().on_train_start()

    def _assign_columns(self, columns: ModelColumns) -> None:
        """As in `RegressionModule`; a model that absorbs effects adds no constant."""
        if self.absorbed_names and not self.columns:
            if columns.intercept is not None:
                raise InputError(
                    "absorb: the data have a column of ones, named intercept, which the effects "
                    "contain; leave it out"
                )
            given, self.fit_intercept = self.fit_intercept, False
            super()._assign_columns(columns)
            self.fit_intercept = given
            return
        super()._assign_columns(columns)

    def _refuse_absorbed(self, what: str) -> None:
        if self.absorbed_names:
            names = " and ".join(map(repr, self.absorbed_names))
            raise InputError(
                f"{what}: the effects of {names} were absorbed, and a prediction needs them; fit "
                f"with {names} as categorical features, without absorb"
            )

    def _start_sums(self) -> None:
        if self.error_options.kind == "HAC":
            check_order(self.trainer)
        state, self._resumed_state = self._resumed_state, None
        if self.trainer.ckpt_path is None or state is None:
            super()._start_sums()
            return
        sampled_rows.check_pass_goes_on(self.trainer.train_dataloader)
        PassShape(**state["shape"]).check(self._pass_shape)
        self._begin_scores(state["sums"] if self.trainer.is_global_zero else None)

    def _folds(self, batch: Any) -> Tensor | None:
        """Return the clusters and levels of each row, (rows, keys) int64."""
        return batch.fold if isinstance(batch, KeyBatch) else None

    def _add_rows(self, batch: Batch, fold: Tensor | None) -> None:
        if self._row_pass is None:
            super()._add_rows(batch, fold)
            return
        self._take_step(partial(self._row_pass.add, batch, fold))
        if self.trainer.is_last_batch:
            self._end_later_pass(self._row_pass)

    def _table_notes(self) -> list[list[str]]:
        effects = None if self._demeaned is None else self._demeaned.effects
        parts = [part for part in (effects, self._robust_errors) if part is not None]
        return [*super()._table_notes(), *(part.phrases() for part in parts)]

    def _rows_of_pass(self) -> int | None:
        if self._resumed_state is not None:
            return 0
        return super()._rows_of_pass() if self._row_pass is None else self._row_pass.rows_seen

    def _end_pass(self) -> None:
        if self.absorbed_names:
            total = self._total()
            self._sums.end_pass(total)
            self._begin_levels(total)
            return
        super()._end_pass()
        if self._sums.current is None and self._needs_later_passes:
            self._begin_scores()

    def _end_later_pass(self, row_pass: RowPass) -> None:
        total, self._row_pass = row_pass.total(self.trainer.world_size), None
        if row_pass.purpose == "levels":
            self._absorption = Absorption(total)
            self._begin_demeaned(total.total.accuracy)
            return
        if row_pass.purpose == "demeaned":
            assert self._absorption is not None
            effects = replace(self._absorption.effects, names=self.absorbed_names)
            self._demeaned = DemeanedRows(total, effects)
            is_precise = self._solve(self._sums.fitted_gram)
            if self.accuracy == "auto" and total.accuracy == "float64" and not is_precise:
                self._begin_demeaned("exact")
                return
            self._report_fit()
            if self.error_options.kind != "classical":
                self._begin_scores()
                return
        else:
            self._robust_errors = replace(total.errors(), cluster_names=self.cluster_names)
            self._set_errors(self._robust_errors)
        self._absorption = None  # a fit keeps no effects

    def _begin_levels(self, total: Gram) -> None:
        row_pass = level_pass(total, len(self.absorbed_names), len(self.cluster_names))
        self._begin_later_pass(row_pass, "the sums of the levels to absorb")

    def _begin_demeaned(self, accuracy: str) -> None:
        assert self._absorption is not None
        sizes = len(self._variable_names), len(self.target_names)
        names = self._variable_names + self.target_names
        arguments = self._absorption, len(self.cluster_names), accuracy, sizes, names
        self._begin_later_pass(demeaned_pass(*arguments), "the rows less the effects absorbed")

    def _begin_scores(self, state: Any = None) -> None:
        assert self._fit is not None
        clusters = len(self.cluster_names)
        arguments = self._fit, self.error_options, clusters, self._absorption, state
        self._begin_later_pass(
            score_pass(*arguments), f"the standard errors ({self.error_options.kind})"
        )

    def _begin_later_pass(self, row_pass: RowPass, purpose: str) -> None:
        rank_zero_info(f"Another pass over the rows, for {purpose}.")
        self._row_pass = row_pass
        raise_max_epochs(self.trainer, self.trainer.current_epoch + 2)
