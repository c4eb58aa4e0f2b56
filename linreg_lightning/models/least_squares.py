"""Least squares under the Trainer: one pass adds up the rows, its end solves for the `Fit`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, final

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from linreg_lightning.algebra import Fit, Gram, Prediction
from linreg_lightning.algebra.gram_state import GramState, PassShape
from linreg_lightning.algebra.least_squares import Accuracy, check_arguments
from linreg_lightning.algebra.prediction import predict_mean, prediction, prediction_center
from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.errors import InputError
from linreg_lightning.models.added_columns import adds_levels
from linreg_lightning.models.collinearity import CollinearityModule
from linreg_lightning.models.columns import ModelColumns
from linreg_lightning.models.one_pass import check_trainer, raise_max_epochs, stopped
from linreg_lightning.models.regression import ClosureOptimizer, Coefficient
from linreg_lightning.models.sampled_rows import check_rows_are_shared, drop_repeated_row
from linreg_lightning.protocols import feature_bits_of


@final
class LeastSquares(CollinearityModule):
    """Minimises sum(w (y - weight x - intercept)^2) + ridge |weight|^2, exactly.

    One pass adds up a small matrix, whatever the number of rows; its end solves for the `Fit` of
    `algebra.least_squares`, and stops the Trainer. Everything is in float64 or better, whatever the
    precision of the rows. A column that is a linear combination of earlier ones, to the precision
    in which the data hold it, is left out and named in a warning, as in R: its row of the table is
    NaN, and predictions take its coefficient as 0. A fit with `ckpt_path` adds its rows to those of
    the checkpoint, which holds the matrix; `TabularData(unseen="add")` brings columns for levels
    that the earlier rows did not have. Data with groups (`TabularData(by=...)`) get one fit for
    each group instead, as `grouped_least_squares` makes it.

    Args:
        accuracy: `exact` adds without any rounding: the coefficients have the same bits for any
            batch size, order of rows or number of processes (for magnitudes see `ExactGram`);
            `float64` is several times as fast and loses digits to ill-conditioned columns; `auto`
            is `exact` for up to a million numbers, then takes `float64`, and a second pass in
            `exact` where `float64` guarantees fewer than eight digits.
        intercept: whether the model adds a constant; None means yes, unless the data have a column
            of ones named `intercept`.
        ridge: the penalty, 0 or above, in the units of the user's columns; never on the constant.
            Above 0 there are no standard errors: the estimates are biased.
        confidence: how often the intervals cover the truth, between 0.000001 and 1.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter outside its range; when fitting, a precision below float32.
    """

    # The Trainer needs one pass over the rows, not many epochs.
    one_pass: ClassVar[bool] = True
    # The sums refuse NaN and infinite values, so that the data need not look for them.
    checks_values: ClassVar[bool] = True
    # Rows with new levels can be added, because the new columns are zeros in the earlier rows.
    extends_columns: ClassVar[bool] = True
    # A fit that goes on from a checkpoint may change these arguments.
    revisable: ClassVar[frozenset[str]] = frozenset({"accuracy", "ridge", "confidence"})

    def __init__(
        self,
        accuracy: Accuracy = "auto",
        intercept: bool | None = None,
        ridge: float = 0.0,
        confidence: float = 0.95,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        check_arguments(accuracy, ridge, confidence)
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.accuracy, self.ridge, self.confidence = accuracy, ridge, confidence
        self._fit: Fit | None = None
        self._sums = GramState(accuracy)
        self._earlier_data: list[dict[str, Any]] = []  # arguments of the data fitted before
        self._checkpoint_epochs = 0
        self._max_epochs: int | None = None

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        return self.weight.detach(), self.bias.detach() if self.has_intercept else None

    def coefficients(self) -> list[Coefficient]:
        """The table: estimate, `std_error`, `t`, `p`, `ci_low`, `ci_high`, NaN as in `Fit`.

        Before a fit: an InputError.
        """
        fit = self._fitted_or_refuse("coefficients")
        columns = {"estimate": fit.estimate, "std_error": fit.standard_error, "t": fit.t}
        columns |= {"p": fit.p, "ci_low": fit.low, "ci_high": fit.high}
        rows = super().coefficients()
        terms = [row["name"] for row in rows if row["target"] == self.target_names[0]]
        # A fit has the constant first, wherever the data have their column of ones.
        terms.sort(key=lambda name: name != "intercept")
        for row in rows:
            place = terms.index(row["name"]), self.target_names.index(row["target"])
            row.update({name: values[place].item() for name, values in columns.items()})
        return rows

    def prediction(self, x: Any) -> Prediction:
        """Predictions for x, (rows, features), with standard errors and intervals.

        x is a data frame, an array or a tensor, as in `predict`. Before a fit: an InputError.
        """
        fit, rows = self._fitted_or_refuse("prediction"), self.read_rows(x)
        if not (self._trainer is not None and self._trainer.predicting):  # else steps count rows
            self._warn_of_broken(rows)
        return prediction(fit.solution, self._without_ones(rows).cpu(), fit.confidence)

    @property
    def fitted(self) -> bool:
        """Whether there are coefficients."""
        return self._fit is not None

    can_predict = fitted

    def setup(self, stage: str) -> None:
        """Take the columns from the data, and refuse settings that exclude a fit in one pass."""
        if stage == "fit":
            check_trainer(self.trainer)
        if self.trainer.precision not in ("32-true", "64-true"):
            raise InputError(
                f"precision: {self.trainer.precision} was given; LeastSquares computes in float64 "
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
            self._sums = GramState(self.accuracy)
            self._earlier_data, self._fit, self.fit_statistics = [], None, {}
        if self._begin_groups(self.ridge, self.accuracy):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._sums.column_bits = feature_bits_of(data, self.columns.intercept)
        self._sums.check_accuracy()
        if self._sums.current is None:
            self._begin_pass()
        else:
            self._sums.resume_pass(self.device, self.trainer.is_global_zero, self._pass_shape)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the rows of one batch; solve after the last one."""
        batch = self.validate_batch(batch)
        batch = drop_repeated_row(batch, batch_idx, self.trainer.train_dataloader)
        batch = batch._replace(x=self._without_ones(batch.x))
        if self._add_to_groups(batch, self._has_constant, self.confidence):
            return
        if not self._sums.rows_seen:
            rows = batch.rows * self.trainer.num_training_batches * self.trainer.world_size
            if note := self._sums.cost_note(rows):
                rank_zero_warn(note)
        names = self._variable_names + self.target_names
        # A step of the optimizer, so that the Trainer counts the batch as a step.
        self._take_step(partial(self._sums.add, batch, self.trainer.world_size, names))
        if self.trainer.is_last_batch:
            # Not in a later hook: validation and checkpoints come before those.
            self._end_pass()

    def on_train_epoch_end(self) -> None:
        """Stop the Trainer after the last pass, or refuse to add rows twice after an early end."""
        if self._sums.current is None:
            self.trainer.should_stop = True
        elif self._sums.rows_seen:
            raise stopped()

    def on_train_end(self) -> None:
        """Refuse a fit that was stopped before the last row."""
        self.trainer.fit_loop.max_epochs = self._max_epochs
        if self._sums.current is not None or self._batches:
            raise stopped()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["statistics"] = self._sums.state_dict(self._pass_shape)
        checkpoint["earlier_data"] = self._earlier_data

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the columns and the sums over, and solve again; with more columns for new levels."""
        earlier = list(checkpoint.get("columns", {}).get("features", []))
        extended = self._is_extended(checkpoint, earlier)
        if extended:
            checkpoint["columns"] |= {"features": self.feature_names}
        super().on_load_checkpoint(checkpoint)
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        self._checkpoint_epochs = progress["processed"]
        self._sums.load_state_dict(checkpoint["statistics"])
        if extended:
            earlier = [name for name in earlier if name != "intercept"]
            place = {name: k for k, name in enumerate(earlier)}
            self._sums.select_columns([place.get(name) for name in self._variable_names])
        self._earlier_data = list(checkpoint.get("earlier_data", []))
        if self._sums.fitted_gram is not None:
            self._solve(self._sums.fitted_gram)
            if self._sums.current is None and "datamodule_hyper_parameters" in checkpoint:
                data = dict(checkpoint["datamodule_hyper_parameters"])
                data.pop("design", None)  # describes the columns, not the rows
                self._earlier_data.append(data)

        if extended:
            checkpoint["state_dict"] = (
                self.state_dict()
            )  # in the new shapes, with what `_solve` set

    def _is_extended(self, checkpoint: dict[str, Any], earlier: list[str]) -> bool:
        """Whether the data of a fit have added levels to the columns of the checkpoint."""
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            return False
        arguments = checkpoint.get("datamodule_hyper_parameters", {})
        data = self._trainer.datamodule  # type: ignore[attr-defined]
        return adds_levels(data, FrameReader.from_arguments(arguments, earlier))

    def _begin_pass(self, second: bool = False) -> None:
        features, targets = len(self._variable_names), len(self.target_names)
        self._sums.begin_pass(features, targets, self.device, second)

    def _end_pass(self) -> None:
        total = self._sums.total(self.trainer.world_size)
        if self._sums.same_rows:
            check_rows_are_shared(self.trainer.train_dataloader)
        fit = self._solve(total)
        trainer = self.trainer
        first_fit = self._sums.fitted_gram is None and self.accuracy == "auto"
        needs_exact = total.accuracy == "float64" and not fit.precise
        steps_left = trainer.max_steps == -1 or trainer.global_step < trainer.max_steps
        may_repeat = steps_left and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if first_fit and needs_exact and may_repeat:
            rank_zero_info("Ill-conditioned columns: a second pass, in exact arithmetic.")
            self._begin_pass(second=True)
            raise_max_epochs(trainer, trainer.current_epoch + 2)
            return
        self._sums.end_pass(total)
        for message, is_warning in fit.diagnostics(self._variable_names):
            (rank_zero_warn if is_warning else rank_zero_info)(message)
        self.log("train_loss", self.fit_statistics["loss"])

    def _solve(self, gram: Gram) -> Fit:
        ones = self.columns.intercept
        options: Any = {"ridge": self.ridge, "confidence": self.confidence}
        fit = Fit.from_gram(gram, intercept=self._has_constant, **options)
        fit = replace(fit, feature_names=self._variable_names)
        weight, center = fit.coefficients.nan_to_num(0.0).T, prediction_center(fit.solution)
        center_prediction = predict_mean(fit.solution, center[None])[0]
        if ones is not None:
            intercept = fit.intercept.unsqueeze(1)
            weight = torch.cat([weight[:, :ones], intercept, weight[:, ones:]], dim=1)
            one = center.any().double()[None]
            center = torch.cat([center[:ones], one, center[ones:]])
        bias = fit.intercept * self.has_intercept
        self.set_coefficients(weight, bias, center, center_prediction)
        self._fit, self.fit_statistics = fit, fit.statistics
        self.r2_uncentered = not fit.solution.has_constant
        return fit

    def _fitted_or_refuse(self, what: str) -> Fit:
        self._refuse_unfitted(what)
        assert self._fit is not None
        return self._fit

    @property
    def _has_constant(self) -> bool:
        return self.has_intercept or self.columns.intercept is not None

    @property
    def _pass_shape(self) -> PassShape:
        return PassShape(self.trainer.num_training_batches, self.trainer.world_size)

    @property
    def _variable_names(self) -> list[str]:
        return [name for name in self.feature_names if name != "intercept"]
