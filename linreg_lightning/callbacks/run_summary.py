"""How to repeat a run, and its results, as text in TensorBoard."""

import platform
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from linreg_lightning import __version__
from linreg_lightning.callbacks.tensorboard import tensorboard_writers
from linreg_lightning.protocols import coefficient_rows, fit_statistics_of
from linreg_lightning.text_table import markdown_table, named_statistics


@final
class RunSummary(Callback):
    """Writes the command and the results of the run to TensorBoard's text page.

    The results are the model's `fit_statistics` and, where it has them, its coefficients.
    It also adds the classes of model and data to the hyper-parameters there, to tell runs apart.
    `command` holds the words that started the run; None takes those of the process. `versions`
    names other packages than ours, with their versions.
    """

    def __init__(self, command: list[str] | None = None, versions: Sequence[str] = ()) -> None:
        self.command, self.versions = command, versions

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and isinstance(logger.hparams, dict):
                logger.hparams.setdefault("model", type(pl_module).__name__)
                if trainer.datamodule is not None:
                    logger.hparams.setdefault("data", type(trainer.datamodule).__name__)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        command = self.command or [sys.executable, *sys.argv]
        text = repeat_instructions(command, trainer.log_dir, self.versions)
        for writer in tensorboard_writers(trainer):
            writer.add_text("repeat", text, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        statistics = named_statistics(fit_statistics_of(pl_module)).items()
        tables = coefficient_rows(pl_module), [{"statistic": k, "value": v} for k, v in statistics]
        text = "\n\n".join(markdown_table(rows) for rows in tables if rows)
        for writer in tensorboard_writers(trainer) if text else []:
            writer.add_text("result", text, trainer.global_step)


def repeat_instructions(command: list[str], folder: str | None, others: Sequence[str] = ()) -> str:
    """Return the command, the versions of packages and the place of all settings, as Markdown."""
    package = __name__.partition(".")[0].replace("_", "-")
    versions = [*others, f"Python {platform.python_version()}", f"{package} {__version__}"]
    versions += [f"{name} {metadata.version(name)}" for name in ("lightning", "torch", "numpy")]
    lines = ["The command:", "", f"    {shlex.join(command)}", ""]
    lines += ["The versions:", "", *(f"- {version}" for version in versions)]
    if folder is not None and (Path(folder) / "config.yaml").is_file():
        lines += ["", f"All settings, defaults included, are in `{folder}/config.yaml`."]
    return "\n".join(lines)
