"""What the command does in the run's folder before the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from linreg_lightning.atomic_file import atomic_path, remove_orphans
from linreg_lightning.cli.checkpoint_trust import FOLDER_KEY, folder_identity


@final
class RunFolder(SaveConfigCallback):
    """Removes what killed runs have left unfinished; writes `config.yaml` whole or not at all."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare the folder, on the first process only."""
        # All processes need `log_dir`, which the first one broadcasts. Some loggers have no folder.
        folder = trainer.log_dir or trainer.default_root_dir
        if self.already_saved or "://" in folder:
            super().setup(trainer, pl_module, stage)
            return
        self.already_saved = True
        if trainer.is_global_zero:
            remove_orphans(Path(trainer.default_root_dir))
            text = self.parser.dump(self.config, skip_none=False)
            with atomic_path(Path(folder) / self.config_filename) as unfinished:
                unfinished.write_text(text, encoding="utf-8")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note in which folder the run writes, so that its own classes are known later."""
        checkpoint[FOLDER_KEY] = folder_identity(Path(trainer.default_root_dir))
