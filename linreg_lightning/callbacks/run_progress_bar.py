"""A progress bar over the whole run."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from linreg_lightning.hook_markers import per_group

_PAUSE = 0.1
_SHORT = 20


@final
class RunProgressBar(TQDMProgressBar):
    """One bar for all epochs, with the epoch's number and the newest losses.

    Lightning's own starts anew each epoch, so where an epoch is a batch or two it is always full;
    and it is drawn at each batch, which takes longer than a small step. This one is drawn ten times
    a second. Validation has a bar of its own where it takes more than a few batches.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn = 0.0

    def init_train_tqdm(self) -> Tqdm:
        """A bar as long as the run."""
        batches, epochs = self.total_train_batches, self._epochs
        steps = math.inf if epochs in (None, -1) else float(batches) * float(epochs or 0)
        if self.trainer.max_steps != -1:
            steps = min(steps, self.trainer.max_steps * self.trainer.accumulate_grad_batches)
        return Tqdm(
            total=None if math.isinf(steps) else int(steps),
            initial=self._batches,
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=0,
            unit="batch",
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        """None for a short one."""
        if self.trainer.state.fn == "fit" and sum(self.total_batches_of_validation) <= _SHORT:
            return Tqdm(disable=True)
        return super().init_validation_tqdm()

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Go on where the last epoch ended."""

    @per_group
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, if it is time to."""
        if time.monotonic() - self._drawn > _PAUSE:
            self._show(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if it is time to; the end, if it is that."""
        epochs = trainer.fit_loop.epoch_progress.current.ready
        if epochs == trainer.max_epochs or trainer.global_step == trainer.max_steps:
            self.on_train_end(trainer, pl_module)  # Lightning says next why it stops
        elif time.monotonic() - self._drawn > _PAUSE:
            self._show(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close a bar of validation's own."""
        self.val_progress_bar.close()
        self.reset_dataloader_idx_tracker()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the end, and leave it there."""
        self._show(trainer, pl_module, refresh=False)
        self.train_progress_bar.close()  # which draws it

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the model has put on the bar, and the loss of validation."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if "val_loss" in trainer.callback_metrics:
            metrics.setdefault("val_loss", f"{trainer.callback_metrics['val_loss'].item():.3g}")
        return metrics

    @property
    def total_batches_of_validation(self) -> list[float]:
        """Of each of its loaders."""
        batches = self.trainer.num_val_batches
        return [float(n) for n in (batches if isinstance(batches, list) else [batches])]

    @property
    def _one_pass(self) -> bool:
        return bool(getattr(self.trainer.lightning_module, "one_pass", False))

    @property
    def _epochs(self) -> int | None:
        """How many the run has, if that is known."""
        if self._one_pass:  # but for the seldom second one, whatever the Trainer would run
            return self.trainer.current_epoch + 1
        return self.trainer.max_epochs

    @property
    def _batches(self) -> int:
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.total.completed)

    def _show(self, trainer: Trainer, model: LightningModule, refresh: bool = True) -> None:
        if self.is_disabled:
            return
        bar = self.train_progress_bar
        epochs = self._epochs
        of_all = "" if epochs in (None, -1) else f"/{epochs}"
        done = trainer.fit_loop.epoch_progress.current.ready
        if self._one_pass:
            bar.set_description("Pass", refresh=False)
        else:
            bar.set_description(f"Epoch {done}{of_all}", refresh=False)
        bar.set_postfix(self.get_metrics(trainer, model), refresh=False)
        bar.n = self._batches
        if refresh:
            bar.refresh()
        self._drawn = time.monotonic()
