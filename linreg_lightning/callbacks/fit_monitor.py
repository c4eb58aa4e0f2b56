"""The quality of the final fit as metrics that compare runs."""

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.protocols import fit_statistics_of
from linreg_lightning.text_table import named_statistics

# What a fit knows beside its quality: counts, and statistics of inference. They would fill the
# HPARAMS tab, where nobody compares runs by them.
_NOT_LOGGED = {
    *("rows", "groups", "rank", "df_residual", "condition", "residual_sd"),
    *("l1_ratio", "df", "cv_standard_error", "nested_standard_error"),
    *("r2_adjusted", "r2_adjusted_uncentered", "f", "f_p", "log_likelihood", "aic", "bic"),
}


@final
class FitMonitor(Callback):
    """Logs the loss and the metrics of the model at the end of a fit, as `fit_<name>`.

    Of a regression these are `fit_loss`, `fit_rmse`, `fit_mae` and `fit_r2`, or of a model without
    a constant `fit_r2_uncentered`, another measure; of a classifier such as `fit_accuracy`. A model
    that has chosen a penalty adds `fit_alpha`, `fit_nonzero`, `fit_cv_error` and `fit_cv_r2`. They
    describe the final coefficients on all training rows, like the last line of the table. A metric
    with a value for each target, or class, gets its number, as in `fit_r2/1`. A model without
    `fit_statistics` is ignored.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values: dict[str, float] = {}
        for name, value in named_statistics(fit_statistics_of(pl_module)).items():
            if name in _NOT_LOGGED:
                continue
            if isinstance(value, list):
                values |= {f"fit_{name}/{k}": each for k, each in enumerate(value, 1)}
            elif isinstance(value, int | float):
                values[f"fit_{name}"] = value
        for logger in trainer.loggers if values else []:
            logger.log_metrics(values, step=trainer.global_step)
