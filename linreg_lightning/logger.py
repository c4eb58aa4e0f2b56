"""TensorBoard, with a HPARAMS tab that compares runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams


@final
class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger, one folder `version_N` a run directly below `save_dir`.

    The HPARAMS tab gets the hyper-parameters of model and data beside the last value of each
    metric, once, when the run has succeeded. Lightning by itself writes a metric of -1 at once.

    Args:
        save_dir: the folder below which runs are kept.
        version: the name of the run's folder, or its number; None takes the next number.
    """

    def __init__(self, save_dir: str = "logs", version: int | str | None = None) -> None:
        super().__init__(save_dir, name="", version=version, default_hp_metric=False)
        self._last: dict[str, float] = {}

    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        metrics: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Keep the hyper-parameters, without those that only Lightning's own machinery reads."""
        params = vars(params) if isinstance(params, Namespace) else params
        visible = {name: value for name, value in params.items() if not name.startswith("_")}
        super().log_hyperparams(visible, metrics, step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars, and remember those by which runs are compared."""
        super().log_metrics(metrics, step)
        compared = ("train_loss", "val_", "test_")
        self._last.update({k: v for k, v in metrics.items() if k.startswith(compared)})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the HPARAMS tab, then close."""
        if status == "success" and self._last:
            # Not by way of log_hyperparams, which would log the metrics a second time.
            plain = (bool, int, float, str)
            shown = {
                name: value if isinstance(value, plain) else str(value)
                for name, value in dict(self.hparams).items()
                if value is not None
            }
            for summary in hparams(shown, self._last):
                self.experiment.file_writer.add_summary(summary)
        super().finalize(status)
