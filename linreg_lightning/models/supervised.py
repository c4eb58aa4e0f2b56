"""What all models share: named columns, predictions, evaluation, checkpoints."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.accelerators import MPSAccelerator
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_group
from linreg_lightning.metrics.moments import Moments, of_all_processes
from linreg_lightning.metrics.regression import RegressionMetrics
from linreg_lightning.model_columns import ModelColumns
from linreg_lightning.models.training_rows import training_batches
from linreg_lightning.text_table import line
from linreg_lightning.tight_loop import TightLoop


class SupervisedModule(LightningModule, ABC):
    """A model from named columns x to named columns y. What it computes is left open.

    The number of features and targets, and their names, come from the data module when the Trainer
    sets the model up, and travel in the checkpoint. With data that have no names, `in_features` and
    `out_features` say how many.

    A subclass makes its parameters in `build`, predicts in `forward`, and brings its own
    `training_step` and `configure_optimizers`.

    Args:
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.

    Raises:
        InputError: features below 0, or targets below 1.
    """

    one_pass: ClassVar[bool] = False
    """Whether a single epoch is the whole fit: then there is no learning rate to be watched."""
    checks_values: ClassVar[bool] = False
    """Whether a fit refuses NaN and infinity by itself, with column and row: one look less."""
    revisable: ClassVar[frozenset[str]] = frozenset()
    """The hyper-parameters that may be given anew beside a checkpoint."""

    def __init__(self, in_features: int | None, out_features: int | None) -> None:
        super().__init__()
        self.columns = ModelColumns([], [], named=False)
        self.fit_statistics: dict[str, Any] = {}
        self._unfitted = False
        self._alone = True  # of the processes: asked for at each step
        if counted := ModelColumns.counted(in_features, out_features):
            self._set_columns(counted)

    @abstractmethod
    def build(self, in_features: int, out_features: int) -> None:
        """Make the parameters."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""

    # What a fitted model answers.

    @property
    def feature_names(self) -> list[str]:
        """The columns of x; none before there are data."""
        return self.columns.features

    @property
    def target_names(self) -> list[str]:
        """The columns of y; none before there are data."""
        return self.columns.targets

    def summary(self) -> str:
        """How well the model fits, as a line of text; empty before a fit."""
        return line(self.fit_statistics)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Rows, loss, RMSE, MAE and R2 of the model as it stands, over all processes' batches.

        The batches are moved to where the model is; it computes in the precision of its weights.
        """
        training = self.training
        self.eval()
        self._metrics.reset()
        with torch.no_grad():
            for batch in batches:
                self._measure(self.transfer_batch_to_device(batch, self.device, 0))
        self.train(training)
        values = {name: value.item() for name, value in self._metrics.compute().items()}
        self._metrics.reset()
        return values

    # What the Trainer calls.

    def setup(self, stage: str) -> None:
        """Take columns over from the data, or check that they are the ones fitted."""
        self._alone = self.trainer.world_size == 1
        self._unfitted = stage != "fit" and not self._can_predict
        if isinstance(self.trainer.accelerator, MPSAccelerator):
            raise InputError(
                "accelerator: Apple's MPS has no float64, which exact statistics need; "
                "type --trainer.accelerator cpu"
            )
        data = getattr(self.trainer, "datamodule", None)
        features = getattr(data, "feature_names", None)
        if features is not None:
            targets = getattr(data, "target_names", None) or []
            if stage == "predict" and self.columns.named:
                targets = self.target_names
            self.set_columns(features, targets)
        elif not self.target_names:
            raise InputError(
                f"in_features: the data do not say how many columns they have; give "
                f"{type(self).__name__}(in_features=...), or data with feature_names"
            )

    def set_columns(self, features: Sequence[str], targets: Sequence[str]) -> None:
        """Be a model of these columns, which data have named, with parameters for them.

        Args:
            features: the columns of x.
            targets: the columns of y; none where the data are only to be predicted.

        Raises:
            InputError: it is a model of others.
        """
        targets = targets or self.target_names or ["y"]
        self._set_columns(self.columns.named_as(list(features), list(targets)))

    def checked(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """The batch, or (x, y) of a foreign loader, if it fits the model.

        Raises:
            InputError: shapes that do not belong together, or other columns than the model has.
        """
        return self.columns.checked(batch)

    def configure_callbacks(self) -> list[Callback]:
        """A TightLoop, unless the Trainer has one."""
        given: list[Callback] = getattr(self.trainer, "callbacks", [])
        return [] if any(isinstance(each, TightLoop) for each in given) else [TightLoop()]

    @per_group
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop a run whose loss has left the finite numbers.

        Raises:
            InputError: it has.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is None:
            return  # a step without one
        # Looking at the loss makes a GPU wait, so there it is done now and then only.
        if loss.device.type == "cpu" or batch_idx % self._log_interval == 0:
            self._stop_if_diverged(loss.item())

    def on_train_end(self) -> None:
        """Measure the fit: the final weights over all rows that were trained on."""
        statistics = self.evaluate(training_batches(self))
        if not statistics["rows"]:
            self.fit_statistics = {}  # of a loader that can be gone through but once
            return
        self.fit_statistics = statistics
        self._stop_if_diverged(statistics["loss"])

    def on_validation_start(self) -> None:
        """Refuse to measure what has not been fitted."""
        self._refuse_unfitted()

    def on_test_start(self) -> None:
        """Refuse to measure what has not been fitted."""
        self._refuse_unfitted()

    def on_predict_start(self) -> None:
        """Refuse to predict by what has not been fitted."""
        self._refuse_unfitted()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the metrics of one batch."""
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the metrics of one batch."""
        self._measure(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The prediction of one batch, (rows, targets); x alone will do for a batch."""
        x = batch if isinstance(batch, Tensor) else batch[0]
        self.columns.check_x(x)
        prediction: Tensor = self(x)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log val_loss, val_rmse, val_mae and val_r2."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log test_loss, test_rmse, test_mae and test_r2."""
        self._log_metrics("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the names of the columns and the class, so that the checkpoint explains itself."""
        checkpoint["columns"] = {
            "features": self.feature_names,
            "targets": self.target_names,
        }
        class_path = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["hyper_parameters"].setdefault("_class_path", class_path)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the names of the columns over.

        Raises:
            InputError: the data at hand have other columns.
        """
        self._unfitted = False
        class_path = checkpoint.get("hyper_parameters", {}).get("_class_path", "another model")
        if "columns" not in checkpoint or class_path.rpartition(".")[2] != type(self).__name__:
            raise InputError(
                f"ckpt_path: a checkpoint of {class_path} was given to {type(self).__name__}; "
                "give one that was made by the same class"
            )
        free = {"in_features", "out_features", "_class_path", *self.revisable}
        for name, value in checkpoint["hyper_parameters"].items():
            own = self.hparams.get(name, value)
            if name not in free and own != value:
                raise InputError(
                    f"{name}: {own} was given to {type(self).__name__}, but the checkpoint was "
                    f"made with {value}; give the same, or load the model from the checkpoint"
                )
        fitted = ModelColumns(checkpoint["columns"]["features"], checkpoint["columns"]["targets"])
        if self.columns.named:
            targets = self.target_names
            if targets != fitted.targets and getattr(self.trainer.state, "fn", None) == "predict":
                targets = fitted.targets  # the data need not have any
            fitted.named_as(self.feature_names, targets)
        else:
            self.columns.named_as(fitted.features, fitted.targets)
        self._set_columns(fitted)

    # Their common parts.

    def training_moments(self) -> tuple[Moments, float]:
        """Of the columns of x and y side by side, of all processes; and the number of rows."""
        columns = len(self.feature_names) + len(self.target_names)
        moments, rows = Moments.of(torch.empty(0, columns, device=self.device)), 0.0
        for batch in training_batches(self):
            values = torch.cat([batch.x.double(), batch.y.double()], dim=1)
            moments, rows = moments.merge(Moments.of(values, batch.weight)), rows + batch.rows
        if self.trainer.world_size == 1:
            return moments, rows
        return of_all_processes(moments, rows)

    def share(self, loss: Tensor, rows: int) -> Tensor:
        """The loss to go back from: times this process's part of the step's rows, 1 on average.

        DDP averages gradients as if each process had as many rows.
        """
        if self._alone:
            return loss
        total = torch.full_like(loss.detach(), rows)
        total = self.trainer.strategy.reduce(total, reduce_op="sum")
        return loss * (rows * self.trainer.world_size / total)

    @property
    def _can_predict(self) -> bool:
        """Whether there are parameters, if only those that it began with."""
        return bool(self.target_names)

    def _refuse_unfitted(self) -> None:
        if self._unfitted:
            raise InputError(
                f"{type(self).__name__}: it has not been fitted in this process; fit it first, "
                "without a strategy that spawns others, or give ckpt_path"
            )

    @property
    def _log_interval(self) -> int:
        return int(getattr(self.trainer, "log_every_n_steps", 1))

    def _set_columns(self, columns: ModelColumns) -> None:
        """A model of these columns, with parameters for them."""
        self._check_columns(columns.features)
        if not self.columns:
            self.build(len(columns.features), len(columns.targets))
            self._metrics = RegressionMetrics(len(columns.targets))
        self.columns = columns

    def _check_columns(self, features: list[str]) -> None:
        """Refuse columns of x that the model cannot have; for a subclass to fill."""

    def _measure(self, batch: Batch) -> None:
        batch = self.checked(batch)
        self._metrics.update(self(batch.x), batch)

    def _log_metrics(self, stage: str) -> None:
        values = self._metrics.compute()
        self._metrics.reset()
        del values["rows"]
        self.log_dict(
            {f"{stage}_{name}": value for name, value in values.items()},
            # The metrics are those of all processes already; this only says so to Lightning.
            sync_dist=self.trainer.world_size > 1,
        )

    def _stop_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss}: the fit has diverged; lower --model.lr{self._lr_given()}"
            )

    def _lr_given(self) -> str:
        lr = self.hparams.get("lr")
        return "" if lr is None else f" ({lr:g} was given)"
