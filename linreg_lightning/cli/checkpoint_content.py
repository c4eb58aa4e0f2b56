"""Gives the Trainer the content of a checkpoint that the command has read already."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, final

from lightning.pytorch import LightningModule

from linreg_lightning.checkpoint_io import AtomicCheckpointIO
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.errors import InputError


@final
class LoadedCheckpointIO(AtomicCheckpointIO):
    """Loads the command's checkpoint from memory: another run may have replaced its file since.

    The stored hyper-parameters give way to those of the model, which the command has compared with
    them: a set may have another order now, and a model of `SupervisedModule` compares the texts.
    """

    def __init__(self, checkpoint: CheckpointInfo, model: LightningModule) -> None:
        super().__init__()
        self._path, self._content = str(checkpoint.path), checkpoint.content
        stored = self._content.get("hyper_parameters")
        if isinstance(stored, dict):
            stored.update({k: v for k, v in model.hparams.items() if k in stored})

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the content once, and forget it, so that the Trainer can release its memory."""
        if str(path) == self._path and self._content:
            content = dict(self._content)
            self._content.clear()
            return content
        return super().load_checkpoint(path, *args, **kwargs)


def is_from_restoring(error: BaseException) -> bool:
    """Whether an error was raised while Lightning's Trainer restored a checkpoint."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).name == "checkpoint_connector.py" for frame in frames)


def unusable(path: Path, error: Exception) -> InputError:
    """Say in one line that the model cannot take the content of a checkpoint."""
    reason = " ".join(str(error).split())[:300]
    return InputError(
        f"--ckpt_path: {path} cannot be used, because its content does not fit its model "
        f"({type(error).__name__}: {reason}); use another checkpoint, or fit the model again"
    )
