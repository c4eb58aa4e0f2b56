"""The quality of the final fit as metrics that compare runs."""

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.protocols import fit_statistics_of
from linreg_lightning.text_table import named_statistics


@final
class FitMonitor(Callback):
    """Logs `fit_loss`, `fit_rmse`, `fit_mae` and `fit_r2` at the end of a fit.

    They describe the final coefficients on all training rows, like the last line of the table.
    Of a model without a constant, r2 is `fit_r2_uncentered`, another measure. A
    statistic with a value for each target gets the target's number, as in `fit_r2/1`. A model
    without `fit_statistics` is ignored.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        statistics = named_statistics(fit_statistics_of(pl_module))
        values: dict[str, float] = {}
        for name in ("loss", "rmse", "mae", "r2", "r2_uncentered"):
            value = statistics.get(name)
            if isinstance(value, list):
                values |= {f"fit_{name}/{k}": each for k, each in enumerate(value, 1)}
            elif value is not None:
                values[f"fit_{name}"] = value
        for logger in trainer.loggers if values else []:
            logger.log_metrics(values, step=trainer.global_step)
