"""The checkpoint of the newest epoch."""

import math
import signal
import threading
import time
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint

from linreg_lightning.atomic_file import remove_orphans
from linreg_lightning.checkpoint_io import AtomicCheckpointIO, use_checkpoint_io
from linreg_lightning.hook_markers import per_group


@final
class RunCheckpoint(ModelCheckpoint):
    """Saves the newest epoch: the first, the last, and between them one every `seconds` at most.

    Lightning's default saves each epoch, which takes longer than a short epoch. A killed run loses
    up to `seconds` and an epoch. Runs that do not validate each epoch save after validations.

    Args:
        seconds: the least time between two checkpoints; 0 saves each epoch.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last_save = -math.inf
        self._interrupted = False
        self._saves_batches = False
        self._handler: Any = None

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        use_checkpoint_io(trainer, AtomicCheckpointIO())
        if trainer.is_global_zero and self.dirpath is not None:
            remove_orphans(Path(self.dirpath))
        self._interrupted = False
        self._saves_batches = trainer.world_size == 1 and not trainer.fast_dev_run
        if stage == "fit" and self._saves_batches:
            self._defer_interrupts()

    def _defer_interrupts(self) -> None:
        """Let Ctrl-C wait for the end of a batch; a second one ends the run at once.

        What a step has half done must not be saved, and an exception could leave a lock of another
        library, such as TensorBoard's, held for ever.
        """
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not is_default or threading.current_thread() is not threading.main_thread():
            return

        def interrupt(*_: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        signal.signal(signal.SIGINT, interrupt)
        self._handler = interrupt

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_save = -math.inf
        if self._interrupted:
            raise KeyboardInterrupt

    @per_group
    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        is_ending = self._saves_batches and (self._interrupted or trainer.received_sigterm)
        # A checkpoint does not hold gradients that wait for those of the next batch.
        has_all_batches = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_ending and (has_all_batches or trainer.is_last_batch):
            metrics = {"epoch": trainer.current_epoch, "step": trainer.global_step}
            path = self.format_checkpoint_name({k: torch.tensor(v) for k, v in metrics.items()})
            previous, self.best_model_path = self.best_model_path, path
            try:
                trainer.save_checkpoint(path, self.save_weights_only)
            except Exception:
                self.best_model_path = previous
                raise
            if self._interrupted:
                text = f"{path} has the fit so far; type --ckpt_path last to go on"
                raise KeyboardInterrupt(text)

    def teardown(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self._restore_handler()

    def on_exception(self, trainer: Any, pl_module: LightningModule, exception: Any) -> None:
        super().on_exception(trainer, pl_module, exception)
        self._restore_handler()

    def _restore_handler(self) -> None:
        if self._handler is not None and signal.getsignal(signal.SIGINT) is self._handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._handler = None

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        now = time.monotonic()
        is_last = (
            trainer.should_stop
            or trainer.current_epoch + 1 == trainer.max_epochs
            or 0 < trainer.max_steps <= trainer.global_step
        )
        is_due = is_last or now - self._last_save >= self.seconds
        # All processes must save together, and their clocks differ.
        if trainer.strategy.broadcast(is_due):
            super().on_train_epoch_end(trainer, pl_module)
            self._last_save = now
