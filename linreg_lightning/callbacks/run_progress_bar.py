"""One progress bar for the whole run."""

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from linreg_lightning.hook_markers import per_group
from linreg_lightning.protocols import is_single_pass

_SECONDS_BETWEEN_UPDATES = 0.1
_MAX_HIDDEN_VALIDATION_BATCHES = 20


@final
class RunProgressBar(TQDMProgressBar):
    """One bar for all epochs, with the number of the epoch and the newest losses.

    Lightning's bar restarts at each epoch and is drawn at each batch, which takes longer than a
    small step. This bar is drawn ten times a second. Validation has its own bar where it takes more
    than 20 batches. Bars go to the standard error stream, because standard output has the result.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_update = 0.0

    def init_train_tqdm(self) -> Tqdm:
        batches = self.total_train_batches * self._epochs
        if self.trainer.max_steps != -1:
            batches = min(batches, self.trainer.max_steps * self.trainer.accumulate_grad_batches)
        bar = _on_stderr(super().init_train_tqdm)
        bar.total = None if math.isinf(batches) else int(batches)
        bar.initial = bar.n = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        bar.unit = "batch"
        return bar

    def init_validation_tqdm(self) -> Tqdm:
        short = sum(self.trainer.num_val_batches) <= _MAX_HIDDEN_VALIDATION_BATCHES
        if self.trainer.state.fn == "fit" and short:
            return Tqdm(disable=True)
        return _on_stderr(super().init_validation_tqdm)

    def init_sanity_tqdm(self) -> Tqdm:
        return _on_stderr(super().init_sanity_tqdm)

    def init_test_tqdm(self) -> Tqdm:
        return _on_stderr(super().init_test_tqdm)

    def init_predict_tqdm(self) -> Tqdm:
        return _on_stderr(super().init_predict_tqdm)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Keep the bar of the epochs before."""

    @per_group
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if time.monotonic() - self._last_update > _SECONDS_BETWEEN_UPDATES:
            self._update(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update the bar as after a batch, and close it after the last epoch."""
        epochs = trainer.fit_loop.epoch_progress.current.ready
        if epochs == self._epochs or trainer.global_step == trainer.max_steps:
            self.on_train_end(trainer, pl_module)  # before Lightning prints why it stops
        else:
            self.on_train_batch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.val_progress_bar.close()
        self.reset_dataloader_idx_tracker()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar, which draws its final state."""
        self._update(trainer, pl_module, refresh=False)
        self.train_progress_bar.close()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what the model logs to the bar, and the validation loss."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if "val_loss" in trainer.callback_metrics:
            metrics.setdefault("val_loss", f"{trainer.callback_metrics['val_loss'].item():.3g}")
        return metrics

    @property
    def _epochs(self) -> float:
        """The epochs of the run; infinite if unknown."""
        if is_single_pass(self.trainer.lightning_module):
            return self.trainer.current_epoch + 1
        return math.inf if self.trainer.max_epochs in (None, -1) else self.trainer.max_epochs

    def _update(self, trainer: Trainer, model: LightningModule, refresh: bool = True) -> None:
        if self.is_disabled:
            return
        total = "" if math.isinf(self._epochs) else f"/{self._epochs}"
        epoch = f"Epoch {trainer.fit_loop.epoch_progress.current.ready}{total}"
        bar = self.train_progress_bar
        bar.set_description("Pass" if is_single_pass(model) else epoch, refresh=False)
        bar.set_postfix(self.get_metrics(trainer, model), refresh=False)
        bar.n = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if refresh:
            bar.refresh()
        self._last_update = time.monotonic()


def _on_stderr(make: Callable[[], Tqdm]) -> Tqdm:
    """Make a bar of Lightning's, which takes the standard output as it is at that moment."""
    with contextlib.redirect_stdout(sys.stderr):
        return make()
