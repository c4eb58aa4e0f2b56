"""The base of all models: named columns, predictions, evaluation, checkpoints."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from itertools import islice
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.checkpoint_file import CheckedLoading, check_checkpoint
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_group
from linreg_lightning.metrics.regression import RegressionMetrics
from linreg_lightning.models.columns import ModelColumns, check_width
from linreg_lightning.protocols import NamedColumns, ReadsInChunks
from linreg_lightning.text_table import format_statistics, named_statistics


class SupervisedModule(LightningModule, ABC):
    """A model that predicts named columns y from named columns x.

    The columns come from the data module when the Trainer sets the model up, and travel in the
    checkpoint. If the data do not name their columns, give `in_features` and `out_features`.

    A subclass makes its parameters in `build`, predicts in `forward`, and defines `training_step`
    and `configure_optimizers`.

    Args:
        in_features: the number of columns of x, 0 or above; None takes it from the data.
        out_features: the number of columns of y, 1 or above; None takes it from the data.
    """

    one_pass: ClassVar[bool] = False
    """Whether one epoch is the whole fit. Progress bar, plots and command then show no descent."""
    checks_values: ClassVar[bool] = False
    """Whether the fit itself refuses NaN and infinity. `TensorData` then skips its own search."""
    revisable: ClassVar[frozenset[str]] = frozenset()
    """Hyper-parameters that may differ from a checkpoint's; loading and the command allow them."""

    r2_uncentered: bool = False
    """Whether r2 compares residuals to y, not to y less its mean: in models without a constant."""

    load_from_checkpoint = CheckedLoading()

    def __init__(self, in_features: int | None, out_features: int | None) -> None:
        super().__init__()
        self.columns = ModelColumns([], [], named=False)
        self.fit_statistics: dict[str, Any] = {}
        self._is_unfitted = False  # `setup` sets it where a task needs a fitted model
        if columns := ModelColumns.from_counts(in_features, out_features):
            self._assign_columns(columns)

    @abstractmethod
    def build(self, in_features: int, out_features: int) -> None:
        """Make the parameters."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets), for x, (rows, features)."""

    @property
    def feature_names(self) -> list[str]:
        """The columns of x; empty before the model has seen data."""
        return self.columns.features

    @property
    def target_names(self) -> list[str]:
        """The columns of y; empty before the model has seen data."""
        return self.columns.targets

    @property
    def can_predict(self) -> bool:
        """Whether there are parameters: from a fit, a checkpoint, or drawn for `in_features`."""
        return bool(self.columns)

    def summary(self) -> str:
        """How well the model fits, as a line of text; empty before a fit."""
        return format_statistics(self.fit_statistics)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Return rows, loss, RMSE, MAE and R2 over the batches, on any device, of all processes.

        `r2_uncentered` is True, and only there, where it is so in the model.
        """
        training = self.training
        self.eval()
        self._metrics.reset()
        with torch.no_grad():
            for batch in batches:
                self._update_metrics(self.transfer_batch_to_device(batch, self.device, 0))
        self.train(training)
        values = {name: value.item() for name, value in self._compute_metrics().items()}
        return values | ({"r2_uncentered": True} if self.r2_uncentered else {})

    def validate_batch(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """Return a `Batch` or other (x, y) as a `Batch`, or raise if it has other columns."""
        return self.columns.validate_batch(batch)

    def scale_loss(self, loss: Tensor, rows: int) -> Tensor:
        """Return the loss to call `backward` on: loss * rows / (mean rows per process now).

        DDP takes the plain mean of the processes' gradients, however many rows each process has.
        """
        processes = self.trainer.world_size
        if processes == 1:
            return loss
        total = torch.full_like(loss.detach(), rows)
        torch.distributed.all_reduce(total)  # Lightning's `reduce` would also wait at a barrier
        return loss * (rows * processes / total)

    def training_batches(self) -> Iterator[Batch]:
        """Yield the rows of one training epoch once more, in batches on the model's device.

        If the loader never ends, stop after as many batches as the Trainer takes in its whole run.
        """
        loader, limit = self.trainer.train_dataloader, self.trainer.num_training_batches
        if loader is None:
            return
        if isinstance(loader, ReadsInChunks):
            batches = loader.chunks(limit)
        else:
            count = self._count_batches() if math.isinf(limit) else int(limit)
            # A copy, because reading the loader itself would move it to its next shuffle.
            batches = islice(copy(loader), count)
        for batch in batches:
            yield self.validate_batch(self.transfer_batch_to_device(batch, self.device, 0))

    def setup(self, stage: str) -> None:
        """Take the columns from the data, or check that they are those of the fit."""
        if isinstance(self.trainer.accelerator, MPSAccelerator):
            raise InputError(
                "accelerator: mps was given, which has no float64 for exact statistics; type cpu"
            )
        self._is_unfitted = stage != "fit" and not self.can_predict
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, NamedColumns):
            keep_targets = stage == "predict" and self.columns.named  # rows to predict need none
            targets = self.target_names if keep_targets else data.target_names
            self.set_columns(data.feature_names, targets)
        elif not self.target_names:
            raise InputError(
                f"in_features: the data do not say how many columns they have; give "
                f"{type(self).__name__}(in_features=...), or data with feature_names"
            )

    def set_columns(self, features: Sequence[str], targets: Sequence[str]) -> None:
        """Make parameters for these columns, or check that they are the model's."""
        targets = targets or self.target_names or ["y"]  # rows to predict may have none
        columns = ModelColumns(list(features), list(targets))
        self.columns.check_same(columns.features, columns.targets)
        self._assign_columns(columns)

    @per_group
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop a run whose loss is NaN or infinite; the last step of a group still shows it."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is None:
            return
        # To read the loss, a GPU must finish the step, so there it is read when the Trainer logs.
        trainer: Any = self.trainer  # Lightning does not declare log_every_n_steps
        if loss.device.type == "cpu" or batch_idx % max(1, trainer.log_every_n_steps) == 0:
            self._stop_if_diverged(loss.item())

    def on_train_end(self) -> None:
        """Measure the fit: the final weights over all training rows."""
        statistics = self.evaluate(self.training_batches())
        # There are no rows if the loader can be read only once: the fit has used them up.
        self.fit_statistics = statistics if statistics["rows"] else {}
        if self.fit_statistics:
            self._stop_if_diverged(statistics["loss"])

    def on_validation_start(self) -> None:
        """Refuse to use initial weights, which `setup` has just made, as if they were a fit."""
        if self._is_unfitted:
            raise InputError(
                f"{type(self).__name__}: it has not been fitted in this process (a strategy that "
                "spawns processes fits in those); fit it in this process, or give ckpt_path"
            )

    on_test_start = on_predict_start = on_validation_start

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._update_metrics(batch)

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The prediction of one batch, (rows, targets); a batch may be x alone."""
        x = batch if isinstance(batch, Tensor) else batch[0]
        check_width("x", x, self.feature_names)
        prediction: Tensor = self(x)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log val_loss, val_rmse, val_mae and val_r2, or val_r2_uncentered."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log test_loss, test_rmse, test_mae and test_r2, or test_r2_uncentered."""
        self._log_metrics("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the columns and the class, so that the checkpoint needs no other file."""
        checkpoint["columns"] = {"features": self.feature_names, "targets": self.target_names}
        class_path = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint.setdefault("hyper_parameters", {}).setdefault("_class_path", class_path)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the checkpoint's columns; refuse one of another class, columns or arguments."""
        with suppress(RuntimeError):  # without a Trainer, `load_from_checkpoint` has checked it
            check_checkpoint(self.trainer.ckpt_path)
        self._check_hyperparameters(checkpoint)
        self._is_unfitted = False
        fitted = ModelColumns(checkpoint["columns"]["features"], checkpoint["columns"]["targets"])
        if checkpoint["state_dict"] and not fitted.targets:
            raise InputError(
                "ckpt_path: the checkpoint does not name the columns of y; use another checkpoint"
            )
        if self.columns.named:
            predicts = self.trainer.state.fn == TrainerFn.PREDICTING  # which needs no targets
            targets = fitted.targets if predicts else self.target_names
            fitted.check_same(self.feature_names, targets)
        else:
            self.columns.check_same(fitted.features, fitted.targets)
        self._assign_columns(fitted)

    def _check_hyperparameters(self, checkpoint: dict[str, Any]) -> None:
        hyperparameters = checkpoint.get("hyper_parameters", {})
        class_path = hyperparameters.get("_class_path", "another model")
        if "columns" not in checkpoint or class_path.rpartition(".")[2] != type(self).__name__:
            raise InputError(
                f"ckpt_path: a checkpoint of {class_path} was given to {type(self).__name__}; "
                "give one of the same class"
            )
        may_differ = {"in_features", "out_features", "_class_path", *self.revisable}
        for name, value in hyperparameters.items():
            given = self.hparams.get(name, value)
            if name not in may_differ and given != value:
                raise InputError(
                    f"{name}: {given} was given to {type(self).__name__}, but the checkpoint was "
                    f"made with {value}; give the same, or load the model from the checkpoint"
                )

    def _assign_columns(self, columns: ModelColumns) -> None:
        """Take these columns, and make parameters for them if the model has none."""
        if not self.columns:
            self.build(len(columns.features), len(columns.targets))
            self._metrics = RegressionMetrics(len(columns.targets))
        self.columns = columns

    def _count_batches(self) -> int | None:
        """Return how many batches the Trainer has taken or, before the first, takes at most."""
        taken: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if taken or self.trainer.max_steps == -1:
            return taken or None
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def _update_metrics(self, batch: Batch) -> None:
        batch = self.validate_batch(batch)
        self._metrics.update(self(batch.x), batch)

    def _compute_metrics(self) -> dict[str, Tensor]:
        self._metrics.uncentered = self.r2_uncentered
        values: dict[str, Tensor] = self._metrics.compute()
        self._metrics.reset()
        return values

    def _log_metrics(self, stage: str) -> None:
        values = named_statistics(self._compute_metrics() | {"r2_uncentered": self.r2_uncentered})
        named = {f"{stage}_{name}": value for name, value in values.items() if name != "rows"}
        # The metrics already cover all processes; sync_dist only silences a warning of Lightning.
        self.log_dict(named, sync_dist=self.trainer.world_size > 1)

    def _stop_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            lr = self.hparams.get("lr")
            start, end = ("", "") if lr is None else ("lr: ", f" ({lr:g} was given)")
            raise InputError(f"{start}the loss is {loss}: the fit has diverged; lower lr{end}")
