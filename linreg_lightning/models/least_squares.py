"""The exact answer in one pass over the rows, with its statistics."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import ArrayLike
from torch import Tensor, nn

from linreg_lightning.algebra import (
    Gram,
    Inference,
    Prediction,
    Solution,
    inference,
    prediction,
    solve,
)
from linreg_lightning.algebra.fit_statistics import fit_statistics
from linreg_lightning.algebra.gram_state import GRAMS, Cut, GramState
from linreg_lightning.algebra.inference import check_confidence
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_group
from linreg_lightning.models.closure_optimizer import ClosureOptimizer, take_step
from linreg_lightning.models.diagnostics import advise
from linreg_lightning.models.regression import Coefficient, RegressionModule
from linreg_lightning.models.trainer_checks import allow_epochs, check_trainer, may_go_on

ENOUGH_DIGITS = 8
"""How many digits must be safe for `auto` to do without a second pass."""


@final
class LeastSquares(RegressionModule):
    """Minimises sum(w (y - weight x - intercept)^2) + ridge |weight|^2, exactly.

    One pass adds up a small matrix, whatever the number of rows; its end solves for coefficients,
    standard errors and all else that statisticians expect, and stops the Trainer. Everything is in
    float64 or better, whatever the precision of the rows. A column that is a linear combination of
    earlier ones is left out and named in a warning, as in R; its coefficient is NaN.

    The matrix travels in the checkpoint: a fit with `ckpt_path` adds its rows to those of the
    checkpoint, as if all had been there from the start.

    Args:
        accuracy: `exact` adds without any rounding, so that the coefficients have the same bits for
            any batch size, order of rows or number of processes (see `ExactGram` for the range of
            magnitudes); `float64` is several times as fast and loses digits to ill-conditioned
            columns; `auto` is `exact` while the rows are few enough for it to cost nothing, then
            takes `float64`, and a second pass in `exact` where less than eight digits are safe.
        intercept: whether the model adds a constant; None: unless the data have a column of ones
            named `intercept`.
        ridge: the penalty, 0 or above, in the units of the user's columns; never on the constant.
            Above 0 there are no standard errors: the estimates are biased.
        confidence: how often the intervals cover the truth, from 0.000001, below 1.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: a hyper-parameter outside its range; when fitting, a precision below float32.
    """

    one_pass: ClassVar[bool] = True
    checks_values: ClassVar[bool] = True
    revisable: ClassVar[frozenset[str]] = frozenset({"accuracy", "ridge", "confidence"})
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        accuracy: Literal["auto", "exact", "float64"] = "auto",
        intercept: bool | None = None,
        ridge: float = 0.0,
        confidence: float = 0.95,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        if accuracy not in ("auto", *GRAMS):
            raise InputError(f"accuracy: {accuracy!r} was given; type auto, exact or float64")
        if not 0 <= ridge < float("inf"):
            raise InputError(f"ridge: {ridge} was given; type a number, 0 or above")
        check_confidence(confidence)
        super().__init__(intercept, in_features, out_features)
        self.save_hyperparameters()
        self.automatic_optimization = False
        self._solution: Solution[Any] | None = None
        self._inference: Inference | None = None
        self._sums = GramState(accuracy)
        self._earlier_data: list[dict[str, Any]] = []  # whose rows are among those done
        self._epochs_behind = 0
        self._max_epochs: int | None = None

    def build(self, in_features: int, out_features: int) -> None:
        """Make room for the coefficients."""
        shape = (out_features, in_features)
        # Parameters although no gradient ever comes: DDP refuses a model that has none.
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets) float64, for x, (rows, features)."""
        return x.double() @ self.weight.T + self.bias

    def weight_and_intercept(self) -> tuple[Tensor, Tensor | None]:
        """The equation in the user's units: (targets, features) and (targets,), or None."""
        return self.weight.detach(), self.bias.detach() if self.has_intercept else None

    # What a fitted model answers.

    def coefficients(self) -> list[Coefficient]:
        """The table: beside the estimate `std_error`, `t`, `p`, `ci_low` and `ci_high`.

        The estimate of a column that was left out is NaN. With a ridge penalty, and where no
        residual degree of freedom is left, all but the estimate are NaN.

        Raises:
            InputError: the model has not been fitted yet.
        """
        if self._inference is None:
            raise InputError("coefficients: the model has not been fitted; fit it first")
        found = self._inference
        columns = {
            "estimate": found.estimate,
            "std_error": found.standard_error,
            "t": found.t,
            "p": found.p,
            "ci_low": found.low,
            "ci_high": found.high,
        }
        rows = super().coefficients()
        terms = [row["name"] for row in rows if row["target"] == self.target_names[0]]
        # The algebra has the constant first, wherever the data have their column of ones.
        terms.sort(key=lambda name: name != "intercept")
        for row in rows:
            place = terms.index(row["name"]), self.target_names.index(row["target"])
            row.update({name: values[place].item() for name, values in columns.items()})
        return rows

    def prediction(self, x: Tensor | ArrayLike) -> Prediction:
        """Predictions with standard errors, confidence and prediction intervals.

        Args:
            x: (rows, features), a tensor, an array or a data frame.

        Raises:
            InputError: the model has not been fitted yet.
        """
        if self._solution is None:
            raise InputError("prediction: the model has not been fitted; fit it first")
        if not isinstance(x, Tensor):
            x = torch.from_numpy(np.array(x, dtype=np.float64))
        return prediction(self._solution, self._variables(x).cpu(), self.hparams["confidence"])

    @property
    def fitted(self) -> bool:
        """Whether there are coefficients."""
        return self._solution is not None

    # What the Trainer calls.

    def setup(self, stage: str) -> None:
        """Take columns over from the data, and refuse what one pass cannot be combined with.

        Raises:
            InputError: a precision below float32, a validation within the pass, more passes than
                needed, or columns other than those fitted.
        """
        if stage == "fit":
            check_trainer(self.trainer)
        if self.trainer.precision not in ("32-true", "64-true"):
            raise InputError(
                f"precision: {self.trainer.precision} was given; LeastSquares computes in float64 "
                "whatever it is: leave --trainer.precision out"
            )
        super().setup(stage)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What lets the Trainer count the steps; the rate is there for callbacks that show it."""
        return ClosureOptimizer(self.parameters(), lr=1.0)

    def on_fit_start(self) -> None:
        """Let the Trainer run a pass more, or two, behind the epochs of a checkpoint."""
        self._max_epochs = self.trainer.max_epochs
        if self.trainer.ckpt_path is not None:
            allow_epochs(self.trainer, self._epochs_behind + 2)

    def on_train_start(self) -> None:
        """Begin the pass: with nothing, or behind what a checkpoint has brought.

        Raises:
            InputError: the checkpoint's sums are less exact than asked for, or those of a pass that
                was cut into other batches.
        """
        sums = self._sums
        if self.trainer.ckpt_path is None:
            sums.clear()
            self._earlier_data = []
            self._solution = self._inference = None
            self.fit_statistics = {}
        sums.check_accuracy()
        if sums.under_way is None:
            self._begin_pass()
        else:
            sums.resume(self.device, self.trainer.is_global_zero, self._cut)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the rows of one batch, and solve behind the last one."""
        batch = self._without_ones(self.validate_batch(batch))
        names = self._variable_names + self.target_names
        take_step(self, partial(self._sums.add, batch, self.trainer.world_size, names))
        if self.trainer.is_last_batch:
            # Not in a later hook: validation and checkpoints come before those.
            self._end_pass()

    @per_group
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """No loss is to be watched."""

    def on_train_epoch_end(self) -> None:
        """Stop the Trainer when there is nothing left to do.

        Raises:
            InputError: the epoch was ended before the last row: another would add some twice.
        """
        if self._sums.under_way is None:
            self.trainer.should_stop = True
        elif self._sums.begun:
            raise _stopped()

    def on_train_end(self) -> None:
        """Refuse to end within a pass.

        Raises:
            InputError: the Trainer was stopped before the last row.
        """
        self.trainer.fit_loop.max_epochs = self._max_epochs
        if self._sums.under_way is not None:
            raise _stopped()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the statistics: of the rows fitted, and of those of a pass under way."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["statistics"] = self._sums.state_dict(self._cut)
        checkpoint["earlier_data"] = self._earlier_data

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take columns and statistics over, and solve again."""
        super().on_load_checkpoint(checkpoint)
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        self._epochs_behind = progress["processed"]
        self._sums.load_state_dict(checkpoint["statistics"])
        self._earlier_data = list(checkpoint.get("earlier_data", []))
        if self._sums.done is not None:
            self._take(self._sums.done)
            if self._sums.under_way is None and "datamodule_hyper_parameters" in checkpoint:
                data = dict(checkpoint["datamodule_hyper_parameters"])
                data.pop("design", None)  # what the columns are: it is the model's now
                self._earlier_data.append(data)

    # Their parts.

    def _begin_pass(self, second: bool = False) -> None:
        columns = len(self._variable_names), len(self.target_names)
        self._sums.begin(*columns, self.device, second)

    def _end_pass(self) -> None:
        total = self._sums.total(self.trainer.world_size)
        solution = self._take(total)
        few_digits = min(solution.digits, solution.error_digits) < ENOUGH_DIGITS
        alone = self._sums.done is None and self.hparams["accuracy"] == "auto"
        if few_digits and total.accuracy == "float64" and alone and may_go_on(self.trainer):
            rank_zero_info("Ill-conditioned columns: a second pass, in exact arithmetic.")
            self._begin_pass(second=True)
            allow_epochs(self.trainer, self.trainer.current_epoch + 2)
            return
        self._sums.end(total)
        advise(solution, total, ENOUGH_DIGITS, self._variable_names)
        self.log("train_loss", self.fit_statistics["loss"])

    @property
    def can_predict(self) -> bool:
        """Whether there are coefficients."""
        return self.fitted

    @property
    def _cut(self) -> Cut:
        """How the rows are cut into batches: what a pass under way depends on."""
        return Cut(batches=self.trainer.num_training_batches, processes=self.trainer.world_size)

    @property
    def _variable_names(self) -> list[str]:
        return [name for name in self.feature_names if name != "intercept"]

    def _variables(self, x: Tensor) -> Tensor:
        """The columns of x but the constant."""
        if self.columns.intercept is None:
            return x
        if self.columns.intercept == 0:
            return x[:, 1:]
        return torch.cat(
            [x[:, : self.columns.intercept], x[:, self.columns.intercept + 1 :]], dim=1
        )

    def _without_ones(self, batch: Batch) -> Batch:
        return batch._replace(x=self._variables(batch.x))

    def _take(self, gram: Gram) -> Solution[Any]:
        """Solve, and take the solution for the model's own."""
        constant = self.has_intercept or self.columns.intercept is not None
        solution = solve(gram.normal_equations(constant), self.hparams["ridge"])
        self._solution = solution
        self._inference = inference(solution, self.hparams["confidence"])
        weight = solution.coefficients.nan_to_num(0.0).T
        if self.columns.intercept is not None:
            own = solution.intercept.unsqueeze(1)
            weight = torch.cat(
                [weight[:, : self.columns.intercept], own, weight[:, self.columns.intercept :]],
                dim=1,
            )
        self.weight.data.copy_(weight)
        self.bias.data.copy_(solution.intercept * self.has_intercept)
        self.fit_statistics = fit_statistics(solution, self._inference)
        return solution


def _stopped() -> InputError:
    return InputError(
        "max_steps, max_time, callbacks: the run was stopped before it had seen all rows; leave "
        "out what stopped it"
    )
