"""What the command does in the run's folder before the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from linreg_lightning.atomic_file import atomic_path, remove_orphans
from linreg_lightning.cli.checkpoint_trust import RUN_KEY, time_written


@final
class RunFolder(SaveConfigCallback):
    """Removes what killed runs have left unfinished; writes `config.yaml` whole or not at all."""

    _written = 0  # of the first process, which writes the checkpoints

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
            config = Path(folder) / self.config_filename
            with atomic_path(config) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
            self._written = time_written(config)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note when the run's config.yaml was written, so that its own classes are known later."""
        checkpoint[RUN_KEY] = self._written
