"""How checkpoints are written to the disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

from linreg_lightning.atomic_file import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its target, flushes it, and renames it.

    Lightning's own plugin writes to the folder for temporary files. If that is on another disk, it
    then copies the checkpoint, and a kill or a full disk leaves a part under the final name.
    Addresses such as `s3://...` are left to Lightning.

    >>> from lightning.pytorch import Trainer
    >>> trainer = Trainer(plugins=[AtomicCheckpointIO()], barebones=True)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the checkpoint; raise InputError if the disk is full."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()  # torch's own writer reports a full disk as an internal error
        torch.save(checkpoint, content)
        with atomic_path(Path(path)) as unfinished:
            unfinished.write_bytes(content.getbuffer())


def use_checkpoint_io(trainer: Trainer, checkpoint_io: AtomicCheckpointIO) -> None:
    """Let the Trainer read and write checkpoints so, unless its strategy or user has a plugin."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = checkpoint_io
