"""How well the final weights fit, among the metrics by which runs are compared."""

from __future__ import annotations

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.protocols import fit_statistics_of

_COMPARED = ("loss", "rmse", "mae", "r2")


@final
class FitMonitor(Callback):
    """Logs `fit_loss`, `fit_rmse`, `fit_mae` and `fit_r2` once a fit has ended.

    They are those of the table's last line: of the final weights, over all rows trained on. What a
    model says target by target has the number of the target behind it, as in `fit_r2/1`. A model
    without `fit_statistics` is left alone.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log."""
        statistics = fit_statistics_of(pl_module)
        values: dict[str, float] = {}
        for name in _COMPARED:
            value = statistics.get(name)
            if isinstance(value, list):
                values |= {f"fit_{name}/{k}": each for k, each in enumerate(value, 1)}
            elif value is not None:
                values[f"fit_{name}"] = value
        for logger in trainer.loggers if values else []:
            logger.log_metrics(values, step=trainer.global_step)
