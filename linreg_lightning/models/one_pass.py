"""A linear model under the Trainer whose fit is one pass that adds up sums over the rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra.gram_state import GramState, PassShape
from linreg_lightning.algebra.least_squares import Accuracy
from linreg_lightning.algebra.notes import Note
from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.errors import InputError
from linreg_lightning.models import sampled_rows
from linreg_lightning.models.added_columns import adds_levels
from linreg_lightning.models.centered import CenteredModule
from linreg_lightning.models.columns import ModelColumns
from linreg_lightning.models.one_pass_checks import check_trainer, raise_max_epochs, stopped
from linreg_lightning.models.regression import ClosureOptimizer
from linreg_lightning.protocols import feature_bits_of


class OnePassModule(CenteredModule):
    """Adds the rows of all batches to sums, and solves these after the last batch of the pass.

    It stops the Trainer after the pass, merges the sums of all processes, and keeps them in the
    checkpoint. A fit with `ckpt_path` goes on with an interrupted pass, or adds its rows to those
    of the checkpoint, also where `TabularData(unseen="add")` brings columns for new levels. With
    `accuracy` auto, sums in float64 that give too few digits get a second pass, in exact.

    A subclass defines `_solve`, `_forget` and `_notes`.

    Args:
        accuracy: `exact`, `float64` or `auto`.
        intercept, in_features, out_features: see `RegressionModule`.
    """

    # The Trainer needs one pass over the rows, not many epochs.
    one_pass: ClassVar[bool] = True
    # The sums refuse NaN and infinite values, so that the data need not look for them.
    checks_values: ClassVar[bool] = True
    # Rows with new levels can be added, because the new columns are zeros in the earlier rows.
    extends_columns: ClassVar[bool] = True

    def __init__(
        self,
        accuracy: Accuracy,
        intercept: bool | None,
        in_features: int | None,
        out_features: int | None,
    ) -> None:
        super().__init__(intercept, in_features, out_features)
        self.automatic_optimization = False
        self.accuracy = accuracy
        self._sums = self._make_sums()
        self._earlier_data: list[dict[str, Any]] = []  # arguments of the data fitted before
        self._checkpoint_epochs = 0
        self._max_epochs: int | None = None

    @abstractmethod
    def _solve(self, total: Any) -> bool:
        """Set coefficients and `fit_statistics` from the sums of all rows.

        Return whether the sums give enough digits; if not, `auto` adds the rows again, exactly.
        """

    @abstractmethod
    def _forget(self) -> None:
        """Forget the fit before a new one begins."""

    @abstractmethod
    def _notes(self) -> list[Note]:
        """Return what a user should know of the fit."""

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        return self.weight.detach(), self.bias.detach() if self.has_intercept else None

    def setup(self, stage: str) -> None:
        """Take the columns from the data, and refuse settings that exclude a fit in one pass."""
        name = type(self).__name__
        if stage == "fit":
            check_trainer(self.trainer, name)
        if self.trainer.precision not in ("32-true", "64-true"):
            raise InputError(
                f"precision: {self.trainer.precision} was given; {name} computes in float64 "
                "whatever it is: leave precision out"
            )
        super().setup(stage)

    def set_columns(self, features: Sequence[str], targets: Sequence[str]) -> None:
        """As in `TableModule`; where the data add levels, make parameters anew."""
        data = getattr(self._trainer, "datamodule", None)
        if self.columns and adds_levels(data, self.frame_reader):
            self.columns = ModelColumns([], [], named=False)
        super().set_columns(features, targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return ClosureOptimizer(self.parameters(), lr=1.0)

    def on_fit_start(self) -> None:
        """Allow one or two passes beyond the epochs of a checkpoint."""
        self._max_epochs = self.trainer.max_epochs
        if self.trainer.ckpt_path is not None:
            raise_max_epochs(self.trainer, self._checkpoint_epochs + 2)

    def on_train_start(self) -> None:
        """Begin a pass without rows, or go on with the pass of a checkpoint."""
        if self.trainer.ckpt_path is None:
            self._sums, self._earlier_data, self.fit_statistics = self._make_sums(), [], {}
            self._forget()
        self._start_sums()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the rows of one batch; solve after the last one."""
        fold = self._folds(batch)
        batch = self.validate_batch(batch)
        batch = sampled_rows.drop_repeated_row(batch, batch_idx, self.trainer.train_dataloader)
        fold = None if fold is None else fold[: batch.rows]
        self._add_rows(batch._replace(x=self._without_ones(batch.x)), fold)

    def on_train_epoch_end(self) -> None:
        """Stop the Trainer after the last pass, or refuse to add rows twice after an early end."""
        rows = self._rows_of_pass()
        if rows is None:
            self.trainer.should_stop = True
        elif rows:
            raise stopped()

    def on_train_end(self) -> None:
        """Refuse a fit that was stopped before the last row."""
        self.trainer.fit_loop.max_epochs = self._max_epochs
        if self._rows_of_pass() is not None:
            raise stopped()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["statistics"] = self._sums.state_dict(self._pass_shape)
        checkpoint["earlier_data"] = self._earlier_data

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the columns and the sums over, and solve again; with more columns for new levels."""
        earlier = list(checkpoint.get("columns", {}).get("features", []))
        extended, revised = self._is_extended(checkpoint, earlier), False
        if extended:
            checkpoint["columns"] |= {"features": self.feature_names}
        super().on_load_checkpoint(checkpoint)
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        self._checkpoint_epochs = progress["processed"]
        self._sums.load_state_dict(checkpoint["statistics"])
        is_fit = self._trainer is None or self._trainer.state.fn == TrainerFn.FITTING
        if self._sums.fitted_gram is None and self._sums.current is not None and not is_fit:
            raise InputError(
                "ckpt_path: the checkpoint is from the middle of the first pass, and has no "
                "coefficients; finish its fit first, or give another checkpoint"
            )
        if self._sums.rows_to_resume and is_fit:
            sampled_rows.check_place_is_kept(checkpoint)
        if extended:
            earlier = [name for name in earlier if name != "intercept"]
            place = {name: k for k, name in enumerate(earlier)}
            self._sums.select_columns([place.get(name) for name in self._variable_names])
        self._earlier_data = list(checkpoint.get("earlier_data", []))
        if self._sums.fitted_gram is not None:
            if extended or self._solves_again(checkpoint):
                self._solve(self._sums.fitted_gram)
                fitted = checkpoint["state_dict"].get("fitted_weight")
                # Arguments may differ from those of the checkpoint.
                revised = fitted is not None and not torch.equal(fitted, self.fitted_weight.cpu())
            if self._rows_of_pass() is None and "datamodule_hyper_parameters" in checkpoint:
                data = dict(checkpoint["datamodule_hyper_parameters"])
                data.pop("design", None)  # describes the columns, not the rows
                self._earlier_data.append(data)
        if extended or revised:
            # In the shapes and with the coefficients of this model.
            checkpoint["state_dict"] = self.state_dict()

    def _solves_again(self, checkpoint: dict[str, Any]) -> bool:
        """Whether to solve the sums of a checkpoint, which has their coefficients too."""
        return True

    def _is_extended(self, checkpoint: dict[str, Any], earlier: list[str]) -> bool:
        """Whether the data of a fit have added levels to the columns of the checkpoint."""
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            return False
        arguments = checkpoint.get("datamodule_hyper_parameters", {})
        data = self._trainer.datamodule  # type: ignore[attr-defined]
        return adds_levels(data, FrameReader.from_arguments(arguments, earlier))

    def _make_sums(self) -> GramState[Any]:
        """Return sums without rows."""
        return GramState(self.accuracy)

    def _start_sums(self) -> None:
        """Begin a pass, or go on with the one of a checkpoint."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._sums.column_bits = feature_bits_of(data, self.columns.intercept)
        self._sums.check_accuracy()
        if self._sums.current is None:
            self._begin_pass()
        else:
            if self._sums.rows_to_resume:
                sampled_rows.check_pass_goes_on(self.trainer.train_dataloader)
            self._sums.resume_pass(self.device, self.trainer.is_global_zero, self._pass_shape)

    def _folds(self, batch: Any) -> Tensor | None:
        """Return the fold of each row of a batch, (rows,); None where the sums have no folds."""
        return None

    def _add_rows(self, batch: Batch, fold: Tensor | None) -> None:
        """Add the rows of a batch, whose x is without a column of ones."""
        if not self._sums.rows_seen:
            rows = batch.rows * self.trainer.num_training_batches * self.trainer.world_size
            if note := self._sums.cost_note(rows):
                rank_zero_warn(note)
        names = self._variable_names + self.target_names
        # A step of the optimizer, so that the Trainer counts the batch as a step.
        self._take_step(partial(self._sums.add, batch, self.trainer.world_size, names, fold))
        if self.trainer.is_last_batch:
            # Not in a later hook: validation and checkpoints come before those.
            self._end_pass()

    def _rows_of_pass(self) -> int | None:
        """Return how many rows the current pass has added; None if no pass is left to make."""
        return None if self._sums.current is None else self._sums.rows_seen

    def _begin_pass(self, second: bool = False) -> None:
        features, targets = len(self._variable_names), len(self.target_names)
        self._sums.begin_pass(features, targets, self.device, second)

    def _end_pass(self) -> None:
        total = self._total()
        is_precise = self._solve(total)
        trainer = self.trainer
        first_fit = self._sums.fitted_gram is None and self.accuracy == "auto"
        needs_exact = total.accuracy == "float64" and not is_precise
        steps_left = trainer.max_steps == -1 or trainer.global_step < trainer.max_steps
        may_repeat = steps_left and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if first_fit and needs_exact and may_repeat:
            rank_zero_info("Ill-conditioned columns: a second pass, in exact arithmetic.")
            self._begin_pass(second=True)
            raise_max_epochs(trainer, trainer.current_epoch + 2)
            return
        self._sums.end_pass(total)
        self._report_fit()

    def _total(self) -> Any:
        """Return the sums of all processes, which must not have added the same rows."""
        total = self._sums.total(self.trainer.world_size)
        if self._sums.same_rows:
            sampled_rows.check_rows_are_shared(self.trainer.train_dataloader)
        return total

    def _report_fit(self) -> None:
        """Say what a user should know of the fit, and log its loss."""
        for message, is_warning in self._notes():
            (rank_zero_warn if is_warning else rank_zero_info)(message)
        self.log("train_loss", self.fit_statistics["loss"])

    @property
    def _has_constant(self) -> bool:
        return self.has_intercept or self.columns.intercept is not None

    @property
    def _pass_shape(self) -> PassShape:
        return PassShape(self.trainer.num_training_batches, self.trainer.world_size)

    @property
    def _variable_names(self) -> list[str]:
        return [name for name in self.feature_names if name != "intercept"]
