"""Curves of the learning rate and of the gradient."""

from typing import Any, final

import torch
from lightning.pytorch import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.optim import Optimizer

from linreg_lightning.hook_markers import per_step


@final
class DescentMonitor(Callback):
    """Logs `descent/learning_rate` and `descent/gradient_norm` as often as the loss is logged.

    The norm is the Euclidean norm of all gradients together, before clipping, just before each
    optimiser step, in automatic and in manual optimization. An optimiser with neither a learning
    rate nor gradients is ignored. With several optimisers, or several parameter groups, the names
    end in `/1`, `/2` and so on.
    """

    @per_step
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        interval = max(1, trainer.log_every_n_steps)
        if not trainer.loggers or (trainer.global_step + 1) % interval:
            return
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        number = next((i for i, o in enumerate(trainer.optimizers, 1) if o is optimizer), 1)
        suffix = f"/{number}" if len(trainer.optimizers) > 1 else ""
        groups = optimizer.param_groups
        values: dict[str, float] = {}
        for i, group in enumerate(groups, 1):
            if "lr" in group:
                name = f"descent/learning_rate{suffix}" + (f"/{i}" if len(groups) > 1 else "")
                values[name] = float(group["lr"])
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if gradients:
            norm = torch.nn.utils.get_total_norm(gradients)
            values[f"descent/gradient_norm{suffix}"] = float(norm)
        if values:
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
