"""What a run is, in words: how to repeat it, and what it found."""

from __future__ import annotations

import math
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from linreg_lightning.callbacks.tensorboard import writers
from linreg_lightning.protocols import coefficient_rows, fit_statistics_of

_PACKAGES = ("lightning", "torch", "numpy")


@final
class RunSummary(Callback):
    """Writes how to repeat the run, and the table of coefficients, into TensorBoard's page of text.

    It also names the classes of model and data among the hyper-parameters there, so that runs of
    several can be told apart.

    Args:
        command: the words that started the run; None takes the process's own.
    """

    def __init__(self, command: list[str] | None = None) -> None:
        self.command = command

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Name model and data."""
        parts = {"model": pl_module, "data": getattr(trainer, "datamodule", None)}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and isinstance(logger.hparams, dict):
                for name, part in parts.items():
                    if part is not None:
                        logger.hparams.setdefault(name, type(part).__name__)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write how to repeat the run."""
        text = repeat(self.command or [sys.executable, *sys.argv], trainer.log_dir)
        for writer in writers(trainer):
            writer.add_text("repeat", text, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was found."""
        statistics = fit_statistics_of(pl_module).items()
        tables = coefficient_rows(pl_module), [{"statistic": k, "value": v} for k, v in statistics]
        parts = [markdown(rows) for rows in tables if rows]
        for writer in writers(trainer) if parts else []:
            writer.add_text("result", "\n\n".join(parts), trainer.global_step)


def repeat(command: list[str], folder: str | None) -> str:
    """The command, the run's own settings and the versions, as Markdown."""
    package = __name__.partition(".")[0]
    versions = [f"Python {platform.python_version()}"]
    for name in (package.replace("_", "-"), *_PACKAGES):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue  # a copy of the package that has not been installed
    lines = ["The command:", "", f"    {shlex.join(command)}", ""]
    lines += ["What it ran with:", "", *(f"- {version}" for version in versions)]
    if folder is not None and (Path(folder) / "config.yaml").is_file():
        lines += ["", f"All settings, defaults included, are in `{folder}/config.yaml`."]
    return "\n".join(lines)


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table; six digits of each number.

    >>> print(markdown([{"name": "x|1", "estimate": 2 / 3}]))
    | name | estimate |
    |---|---|
    | x&#124;1 | 0.666667 |
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    body = ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join([*head, *body])


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(value).replace("|", "&#124;").replace("\n", " ")
