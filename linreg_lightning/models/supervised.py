"""The base of all models, whatever their task: loss, metrics, evaluation, checkpoints."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from linreg_lightning.batch import Batch
from linreg_lightning.checkpoint_file import CheckedLoading, check_checkpoint
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_group
from linreg_lightning.metrics.task_metrics import TaskMetrics, task_metrics
from linreg_lightning.models.batches import as_batch, in_precision, row_losses, training_batches
from linreg_lightning.models.hyperparameters import check_hyperparameters
from linreg_lightning.protocols import NamedClasses
from linreg_lightning.text_table import format_statistics, named_statistics


class SupervisedModule(LightningModule, ABC):
    """A model that learns y from x, for any task: x and y may have any shape, (rows, ...).

    A subclass makes its layers in `__init__` and defines

        forward(x)              the prediction, (rows, ...), from x
        row_loss(prediction, y) the loss of each row, (rows,)
        configure_optimizers()  the optimiser
        make_metrics()          what else to measure; optional

    and, if its task has them, `figures` and `prediction_columns`: see `DrawsFigures` and
    `NamesPredictions` in protocols.py. Everything else is done here. Each step logs `train_loss`.
    Validation and test log `val_loss`, `test_loss` and the metrics over all rows, for any size of
    batches and number of processes; a fit ends with `fit_statistics`, the same over the training
    rows. A fit that diverges, and predictions before a fit, are refused. Where y holds classes,
    their names come from the data and stay in the checkpoint; or set `class_names` in `__init__`.

    >>> class Network(SupervisedModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    ...
    ...     def forward(self, x):
    ...         return self.layers(x)
    ...
    ...     def row_loss(self, prediction, y):
    ...         return torch.nn.functional.cross_entropy(prediction, y, reduction="none")
    ...
    ...     def configure_optimizers(self):
    ...         return torch.optim.Adam(self.parameters(), lr=0.1)
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from linreg_lightning import Trainer
    >>> images, y = torch.eye(4).reshape(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    >>> model = Network()
    >>> loader = DataLoader(TensorDataset(images, y), batch_size=2)
    >>> Trainer(max_epochs=50, barebones=True).fit(model, loader)
    >>> model(images).argmax(dim=1), model.fit_statistics["loss"] < 0.1
    (tensor([0, 1, 1, 0]), True)
    """

    one_pass: ClassVar[bool] = False
    """Whether one epoch is the whole fit; nothing then shows how the loss falls step by step."""
    checks_values: ClassVar[bool] = False
    """Whether the fit itself refuses NaN and infinity. `TensorData` then skips its own search."""
    revisable: ClassVar[frozenset[str]] = frozenset()
    """Hyper-parameters that may differ from a checkpoint's; loading and the command allow them."""

    load_from_checkpoint = CheckedLoading()

    def __init__(self) -> None:
        super().__init__()
        self.class_names: list[str] = []
        """What the numbers in y stand for, from the data; empty where y holds no classes."""
        self.fit_statistics: dict[str, Any] = {}
        self._has_fitted_parameters = False
        self._is_unfitted = False  # `setup` sets it where a task needs a fitted model
        self._metrics: TaskMetrics | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The prediction, (rows, ...), for x, (rows, ...)."""

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each row, (rows,); y is in the prediction's precision, or int64."""
        raise NotImplementedError(
            f"{type(self).__name__} defines neither row_loss nor training_step; define row_loss"
        )

    def make_metrics(self) -> Metric | MetricCollection | None:
        """Return what to measure beside the loss; a model of classes has `class_names` by then.

        Each metric is updated with (prediction, y) and computes one number, or several by name. A
        `MetricCollection` names them; a single metric has the name of its class. `BinaryAccuracy`
        and the like mistake logits for probabilities where all of a batch lie within [0, 1]: give
        them probabilities.
        """
        return None

    @property
    def can_predict(self) -> bool:
        """Whether a fit or a checkpoint has set the parameters; else predictions are refused.

        A model that has its parameters from elsewhere returns True.
        """
        return self._has_fitted_parameters

    def summary(self) -> str:
        """How well the model fits, as a line of text; empty before a fit."""
        return format_statistics(self.fit_statistics)

    def evaluate(self, batches: Iterable[Batch | tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return rows, loss and metrics over the batches, on any device, of all processes."""
        training = self.training
        self.eval()
        self._get_metrics().reset()
        with torch.no_grad():
            for batch in batches:
                self._update_metrics(self.transfer_batch_to_device(batch, self.device, 0))
        self.train(training)
        values = self._metric_values()
        return {k: v.item() if isinstance(v, Tensor) else v for k, v in values.items()}

    def validate_batch(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """Return (x, y) or (x, y, weight) as a `Batch`, or raise an InputError.

        x is in the model's precision, and y is int64 if it holds whole numbers.
        """
        x, y, weight = as_batch(batch).validate_rows()
        self._get_metrics().check_weight(weight)
        y = y if y.is_floating_point() else y.long()
        return Batch(in_precision(x, self.dtype), y, weight)

    def scale_loss(self, loss: Tensor, rows: int) -> Tensor:
        """Return the loss to call `backward` on: loss * rows / (rows per process, on average).

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
        for batch in training_batches(self.trainer):
            yield self.validate_batch(self.transfer_batch_to_device(batch, self.device, 0))

    def setup(self, stage: str) -> None:
        """Take the names of the classes from the data, or check that they are those of the fit."""
        if isinstance(self.trainer.accelerator, MPSAccelerator):
            raise InputError(
                "accelerator: mps was given, which has no float64 for exact statistics; type cpu"
            )
        self._is_unfitted = stage != "fit" and not self.can_predict
        self._has_fitted_parameters |= stage == "fit"
        self._take_class_names()

    def set_class_names(self, names: Sequence[str]) -> None:
        """Take the names of the classes, or check that they are the model's; none: no classes."""
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"class_names: {twice[0]} was given twice; give each class its own")
        if names and self.class_names and list(names) != self.class_names:
            raise InputError(
                f"class_names: the model has {', '.join(self.class_names)}, in this order; the "
                f"data have {', '.join(names)}; give data of the same classes"
            )
        self.class_names = list(names) or self.class_names

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Return the mean loss of a batch, each row's times its weight; the weights have mean 1."""
        x, y, weight = self.validate_batch(batch)
        losses = row_losses(self.row_loss, self(x), y, self.class_names)
        loss = losses.mean() if weight is None else (losses * weight.to(losses.dtype)).mean()
        self.log("train_loss", loss, prog_bar=True, batch_size=len(x))
        # The log shows the loss of these rows; only the gradients need the scale.
        return self.scale_loss(loss, len(x))

    @per_group
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop a run whose loss is NaN or infinite; the last step of a group shows it too."""
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
        if "loss" in self.fit_statistics:
            self._stop_if_diverged(statistics["loss"])

    def on_validation_start(self) -> None:
        """Refuse to use initial weights as if they were a fit."""
        if self._is_unfitted:
            raise InputError(
                f"{type(self).__name__}: it has not been fitted in this process (a strategy that "
                "spawns processes fits in those); fit it in this process, or give ckpt_path"
            )

    on_test_start = on_predict_start = on_validation_start

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._update_metrics(batch)

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The prediction of one batch, (rows, ...); a batch may be x alone."""
        x = batch if isinstance(batch, Tensor) else batch[0]
        prediction: Tensor = self(in_precision(x, self.dtype))
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log val_loss, and each metric as val_<its name>."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log test_loss, and each metric as test_<its name>."""
        self._log_metrics("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the classes and the model's own class, so that the checkpoint needs no other file."""
        checkpoint["class_names"] = self.class_names
        class_path = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint.setdefault("hyper_parameters", {}).setdefault("_class_path", class_path)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the checkpoint's classes; refuse one of another model, classes or arguments."""
        with suppress(RuntimeError):  # no Trainer: `load_from_checkpoint` has checked the file
            check_checkpoint(self.trainer.ckpt_path)
        check_hyperparameters(self, checkpoint)
        names = checkpoint.get("class_names", [])
        self.class_names = [*map(str, self.class_names)]
        if self.class_names and names != self.class_names:
            raise InputError(
                f"ckpt_path: the model was fitted on the classes {', '.join(names) or 'none'}, in "
                f"this order; the data have {', '.join(self.class_names)}; give data of the same "
                "classes"
            )
        self.class_names = list(names)
        self._is_unfitted, self._has_fitted_parameters = False, True

    def _take_class_names(self) -> None:
        data = getattr(self._trainer, "datamodule", None)
        self.class_names = [*map(str, self.class_names)]
        if isinstance(data, NamedClasses):
            self.set_class_names([*map(str, data.class_names)])

    def _get_metrics(self) -> TaskMetrics:
        if self._metrics is None:
            with torch.inference_mode(False):  # training cannot use what inference mode makes
                metrics = task_metrics(self.make_metrics, self.class_names, type(self).__name__)
                self._metrics = metrics.to(self.device)
        return self._metrics

    def _update_metrics(self, batch: Any) -> None:
        batch = self.validate_batch(batch)
        self._add_to_metrics(batch, self(batch.x))

    def _add_to_metrics(self, batch: Batch, prediction: Tensor) -> None:
        has_loss = type(self).row_loss is not SupervisedModule.row_loss
        losses = None
        if has_loss:
            losses = row_losses(self.row_loss, prediction, batch.y, self.class_names)
        self._get_metrics().update(prediction, batch.y, losses, batch.weight)

    def _metric_values(self) -> dict[str, Any]:
        values: dict[str, Any] = self._get_metrics().compute()
        self._get_metrics().reset()
        return values

    def _log_metrics(self, stage: str) -> None:
        values = named_statistics(self._metric_values())
        named = {f"{stage}_{name}": value for name, value in values.items() if name != "rows"}
        # The metrics already cover all processes; sync_dist only silences a warning of Lightning.
        self.log_dict(named, sync_dist=self.trainer.world_size > 1)

    def _stop_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            lr = self.hparams.get("lr")
            start, end = ("", "") if lr is None else ("lr: ", f" ({lr:g} was given)")
            raise InputError(f"{start}the loss is {loss}: the fit has diverged; lower lr{end}")
