"""How fast a descent goes, and how steep the slope is."""

from __future__ import annotations

from typing import final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from linreg_lightning.hook_markers import per_step


@final
class DescentMonitor(Callback):
    """Logs `descent/learning_rate` and `descent/gradient_norm` as often as the loss is logged.

    The norm is the Euclidean one of all gradients together, before clipping, where a step is about
    to be taken with them, automatically or by hand. An optimiser that has neither a learning rate
    nor gradients is left alone. With several optimisers, or groups with rates of their own, names
    are followed by `/1`, `/2` and so on.
    """

    @per_step
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Log, if it is time to."""
        interval = max(1, int(getattr(trainer, "log_every_n_steps", 1)))
        if not trainer.loggers or (trainer.global_step + 1) % interval:
            return
        own = getattr(optimizer, "optimizer", optimizer)
        place = next((i for i, o in enumerate(trainer.optimizers, 1) if o is own), 1)
        suffix = f"/{place}" if len(trainer.optimizers) > 1 else ""
        groups = own.param_groups
        rates = {
            f"descent/learning_rate{suffix}" + (f"/{i}" if len(groups) > 1 else ""): group["lr"]
            for i, group in enumerate(groups, 1)
            if "lr" in group
        }
        values = {name: float(rate) for name, rate in rates.items()}
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if gradients:
            values[f"descent/gradient_norm{suffix}"] = float(
                torch.nn.utils.get_total_norm(gradients)
            )
        if values:
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
