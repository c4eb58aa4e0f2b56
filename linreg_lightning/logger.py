"""TensorBoard, with a HPARAMS tab that compares runs."""

from __future__ import annotations

import contextlib
import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams

_STAGES = ("train", "val", "test", "fit")
_COLUMN_IF_NULL = ("batch_size",)
"""Hyper-parameters by which runs are compared even where one of them does without."""


@final
class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger, one folder `version_N` a run directly below `save_dir`.

    TensorBoard groups its charts by what is in front of a slash, so metrics are filed by the stage
    that their names begin with: `val_loss` under `val/loss`, and so on.

    The HPARAMS tab gets the hyper-parameters of model and data beside the last value of each
    metric, once, when the run has succeeded. Lightning by itself writes a metric of -1 at once.

    Args:
        save_dir: the folder below which runs are kept.
        version: the name of the run's folder, or its number; None takes the next number.
    """

    def __init__(self, save_dir: str = "logs", version: int | str | None = None) -> None:
        super().__init__(save_dir, name="", version=version, default_hp_metric=False)
        self._last: dict[str, float] = {}
        self._begun = False

    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        metrics: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Keep the hyper-parameters, without those that only Lightning's own machinery reads."""
        self._begun = True
        params = vars(params) if isinstance(params, Namespace) else params
        visible = {name: value for name, value in params.items() if not name.startswith("_")}
        super().log_hyperparams(visible, metrics, step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars, and remember those by which runs are compared."""
        self._begun = True
        filed = {tag(name): value for name, value in metrics.items()}
        groups: dict[str, Any] = {
            name: value for name, value in filed.items() if isinstance(value, dict)
        }
        if groups:
            super().log_metrics(groups, step)
        scalars = {name: float(value) for name, value in filed.items() if name not in groups}
        # In one record: one for each, as SummaryWriter makes them, takes several times as long.
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)
        compared = ("train/loss", "val/", "test/", "fit/")
        self._last.update({k: v for k, v in scalars.items() if k.startswith(compared)})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the HPARAMS tab, then close; leave nothing of a run that was refused."""
        finite = {name: value for name, value in self._last.items() if math.isfinite(value)}
        if status == "success" and finite:
            # Not by way of log_hyperparams, which would log the metrics a second time.
            plain = (bool, int, float, str)
            given = dict(self.hparams)
            shown = {
                k: v if isinstance(v, plain) else str(v) for k, v in given.items() if v is not None
            }
            # TensorBoard takes the columns from one of the runs, any.
            null = {name: "" for name in _COLUMN_IF_NULL if name in given}
            columns, _, _ = hparams(null | shown, finite)
            _, start, end = hparams(shown, finite)
            for summary in (columns, start, end):
                self.experiment.file_writer.add_summary(summary)
        super().finalize(status)
        if status == "failed" and not self._begun and self._experiment is not None:
            self.experiment.close()
            for file in self._fs.glob(f"{self.log_dir}/events.*"):
                self._fs.rm(file)
            with contextlib.suppress(OSError):  # others may have written there
                self._fs.rmdir(self.log_dir)

    def _get_next_version(self) -> int:
        """The first number that no other run has, which may begin at the same time."""
        version = super()._get_next_version()
        while getattr(rank_zero_only, "rank", 0) == 0:
            with contextlib.suppress(FileExistsError):
                self._fs.makedirs(f"{self.root_dir}/version_{version}", exist_ok=False)
                break
            version += 1
        return version


def tag(name: str) -> str:
    """Where a metric stands in TensorBoard.

    >>> tag("val_r2"), tag("fit_rmse"), tag("epoch"), tag("coefficient/x1"), tag("training")
    ('val/r2', 'fit/rmse', 'descent/epoch', 'coefficient/x1', 'training')
    """
    if name == "epoch":
        return "descent/epoch"
    stage, _, metric = name.partition("_")
    return f"{stage}/{metric}" if stage in _STAGES and metric else name
