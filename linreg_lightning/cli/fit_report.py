"""What the command prints at the end of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping

from linreg_lightning.callbacks.validation_record import ValidationRecord
from linreg_lightning.cli.command import active
from linreg_lightning.models.supervised import SupervisedModule
from linreg_lightning.text_table import format_statistics


def fit_report(trainer: Any, model: Any) -> str:
    """Return the summary and the validation metrics; of a model without one, its last metrics."""
    if not (isinstance(model, SupervisedModule) and model.summary()):
        metrics = _numbers(trainer.callback_metrics)
        items = [f"{name} {value:.6g}" for name, value in metrics.items()]
        return "  ".join(["logged", *items]) if items else ""
    lines = [model.summary()]
    for record in trainer.callbacks:
        if isinstance(record, ValidationRecord) and record.metrics:
            metrics = {k.removeprefix("val_"): v for k, v in _numbers(record.metrics).items()}
            is_newest = record.step == trainer.global_step
            step = "" if is_newest else f" after step {record.step} of {trainer.global_step}"
            lines.append(f"validation{step}  {format_statistics(metrics)}")
    return "\n".join(lines)


def stop_reason(trainer: Any) -> str:
    """Return the callback, the epochs and the reason if a fit was stopped early; else ""."""
    for callback in trainer.callbacks if trainer.should_stop else ():
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            reason = callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
            reason = reason.removeprefix("Monitored metric ")
            epochs = callback.stopped_epoch + 1
            return f"by {type(callback).__name__} after {epochs} epochs: {reason}"
    return ""


def unsaved_metric(trainer: Any) -> str:
    """Return the metric for want of which a ModelCheckpoint has saved nothing; else ""."""
    metrics = (None, "epoch", "step", *trainer.callback_metrics)
    for callback in trainer.checkpoint_callbacks:
        if getattr(callback, "monitor", None) not in metrics and not callback.best_k_models:
            return str(callback.monitor)
    return ""


def table_settings(options: Any) -> str:
    """Return, as options, the settings whose defaults differ for a table; "" without a table."""
    command, used = active(), (options.data.class_path, options.model.class_path)
    pairs = zip(used, (command.table, command.model), strict=True)
    if any(path.rpartition(".")[2] != default.rpartition(".")[2] for path, default in pairs):
        return ""
    names = [name.partition(".")[2] for name in command.table_options if name.startswith("model.")]
    values = {name: options.model.init_args[name] for name in names}
    return " ".join(f"--model.{name} {str(value).lower()}" for name, value in values.items())


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value.item() for name, value in metrics.items()}
