"""A TensorBoard logger whose HPARAMS tab compares runs."""

import contextlib
import math
import threading
from argparse import Namespace
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from linreg_lightning.atomic_file import atomic_path, write_errors

_STAGES = ("train", "val", "test", "fit")
_COMPARED = ("train/loss", "val/", "test/", "fit/")
# The first columns of the HPARAMS tab, with values that say their types.
_COMPARED_COLUMNS: dict[str, Any] = {"model": "", "lr": 0.0, "path": ""}
_SECONDS_TO_CLOSE = 5.0  # of a run that failed


@final
class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger with one folder `version_N` per run, directly in `save_dir`.

    `val_loss` becomes `val/loss`, because TensorBoard groups charts by the text before a slash.
    The HPARAMS tab gets the hyper-parameters of model and data, and the last value of each metric,
    once the run has succeeded.

    Args:
        save_dir: the folder that holds all runs.
        version: the name of the run's folder, or its number; None takes the next number.
    """

    def __init__(self, save_dir: str = "logs", version: int | str | None = None) -> None:
        super().__init__(save_dir, name="", version=version, default_hp_metric=False)
        self._given_version = version
        self._writer: Any = None
        self._last_values: dict[str, float] = {}
        self._has_logged = False

    @cached_property
    def version(self) -> int | str:
        """The name of the run's folder, or its number; the first use takes the next number."""
        if self._given_version is not None:
            return self._given_version
        files, number = get_filesystem(self.root_dir), int(super().version)
        while getattr(rank_zero_only, "rank", 0) == 0:
            # Another run may start at the same time.
            with write_errors(Path(self.root_dir)), contextlib.suppress(FileExistsError):
                files.makedirs(f"{self.root_dir}/version_{number}", exist_ok=False)
                break
            number += 1
        return number

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The open writer of the run's folder; the user may have closed the last one."""
        if self._writer is None or self._writer.file_writer is None:
            self._writer = SummaryWriter(self.log_dir)
        return self._writer

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the hyper-parameters, except those that only Lightning reads."""
        self._has_logged = True
        params = vars(params) if isinstance(params, Namespace) else params
        visible = {name: value for name, value in params.items() if not name.startswith("_")}
        super().log_hyperparams(visible, *args, **kwargs)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars; keep the last values of those that compare runs."""
        self._has_logged = True
        by_tag = {tag(name): value for name, value in metrics.items()}
        groups: Any = {name: value for name, value in by_tag.items() if isinstance(value, dict)}
        if groups:
            super().log_metrics(groups, step)
        scalars = {k: float(value) for k, value in by_tag.items() if k not in groups}
        # One record for all scalars: SummaryWriter's record for each takes several times as long.
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.experiment.file_writer.add_summary(Summary(value=values), step)
        self._last_values |= {k: v for k, v in scalars.items() if k.startswith(_COMPARED)}

    @rank_zero_only
    def save(self) -> None:
        """Write what is logged, and the hyper-parameters once, as `hparams.yaml`."""
        path = Path(self.log_dir) / self.NAME_HPARAMS_FILE
        if "://" not in self.log_dir and path.parent.is_dir() and not path.exists():
            with atomic_path(path) as unfinished:
                save_hparams_to_yaml(unfinished, self.hparams)
        super().save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the HPARAMS tab and close; remove the files of a run that failed at its start."""
        if status == "success":
            self._finalize(status)
            return
        # Ctrl-C within a call of TensorBoard may leave its writer's thread waiting for ever.
        thread = threading.Thread(target=self._close_after_error, args=(status,), daemon=True)
        thread.start()
        thread.join(_SECONDS_TO_CLOSE)

    def _close_after_error(self, status: str) -> None:
        with contextlib.suppress(Exception):  # the error of the run says more
            self._finalize(status)

    def _finalize(self, status: str) -> None:
        super().finalize(status)
        if self._writer is None:
            return
        metrics = {k: value for k, value in self._last_values.items() if math.isfinite(value)}
        if status == "success" and metrics:
            # log_hyperparams would log the metrics a second time
            given = {k: value for k, value in self.hparams.items() if value is not None}
            shown = {k: v if isinstance(v, int | float | str) else str(v) for k, v in given.items()}
            for summary in (_columns(shown, metrics), *hparams(shown, metrics)[1:]):
                self.experiment.file_writer.add_summary(summary)
        self._writer.close()
        self._writer = None
        if status == "failed" and not self._has_logged:
            files = get_filesystem(self.log_dir)
            files.rm(files.glob(f"{self.log_dir}/events.*"))
            with contextlib.suppress(OSError):  # the folder may hold other files
                files.rmdir(self.log_dir)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_writer": None}


def _columns(values: dict[str, Any], metrics: dict[str, float]) -> Summary:
    """Return the columns of the HPARAMS tab, the model, its rate and the path of the data first.

    TensorBoard takes the columns from any one of the runs, so each run lists those that compare
    runs, also where it has no value. It sorts them by name, but puts those first that are said to
    differ between runs.
    """
    columns, _, _ = hparams(_COMPARED_COLUMNS | {"batch_size": ""} | values, metrics)
    plugin = columns.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in _COMPARED_COLUMNS
    plugin.content = content.SerializeToString()
    return columns


def tag(name: str) -> str:
    """Return a metric's tag in TensorBoard.

    >>> tag("val_r2"), tag("fit_rmse"), tag("epoch"), tag("coefficient/x1"), tag("training")
    ('val/r2', 'fit/rmse', 'descent/epoch', 'coefficient/x1', 'training')
    """
    if name == "epoch":
        return "descent/epoch"
    stage, _, metric = name.partition("_")
    return f"{stage}/{metric}" if stage in _STAGES and metric else name
