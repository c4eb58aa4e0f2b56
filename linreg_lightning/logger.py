"""TensorBoard, with a HPARAMS tab that compares runs."""

from __future__ import annotations

import contextlib
import math
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from google.protobuf.message import DecodeError
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import Experiment
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

_STAGES = ("train", "val", "test", "fit")
_FIRST = ("batch_size", "data", "lr", "model")
"""Of more than five hyper-parameters the tab opens with those that differ, then by name."""
_COLUMNS = "events.out.tfevents.{}.columns"
_HEAD, _TAIL = 12, 4  # of a record in a file of events: its length, and two checksums


@final
class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger, one folder `version_N` a run directly below `save_dir`.

    TensorBoard groups its charts by what is in front of a slash, so metrics are filed by the stage
    that their names begin with: `val_loss` under `val/loss`, and so on.

    The HPARAMS tab gets the hyper-parameters of model and data beside the last value of each
    metric, once, when the run has succeeded. Lightning by itself writes a metric of -1 at once.
    Which columns the tab has TensorBoard takes from one run, whichever. So a small file of events
    beside the runs, TensorBoard's run `.`, says it for all of them: what any has.

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
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars, and remember those by which runs are compared."""
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
        """Write the HPARAMS tab, then close."""
        finite = {name: value for name, value in self._last.items() if math.isfinite(value)}
        if status == "success" and finite:
            # Not by way of log_hyperparams, which would log the metrics a second time.
            plain = (bool, int, float, str)
            given = dict(self.hparams)
            shown = {
                k: v if isinstance(v, plain) else str(v) for k, v in given.items() if v is not None
            }
            columns, start, end = hparams(shown, finite)
            for summary in (start, end):
                self.experiment.file_writer.add_summary(summary)
            _add_columns(Path(self.save_dir), columns)
        super().finalize(status)


def _add_columns(folder: Path, columns: Summary) -> None:
    """Add columns to those that the runs in a folder have had so far."""
    files = sorted(folder.glob(_COLUMNS.format("*")))
    merged, known = _plugin_data(columns), HParamsPluginData()
    with contextlib.suppress(DecodeError, IndexError):  # no file yet, or what a full disk left
        event = Event.FromString(files[-1].read_bytes()[_HEAD:-_TAIL])
        known = _plugin_data(event.summary)
    before, now = known.experiment, merged.experiment
    hyper = {each.name: each for each in (*before.hparam_infos, *now.hparam_infos)}
    metrics = {each.name.tag: each for each in (*before.metric_infos, *now.metric_infos)}
    if len(hyper) == len(before.hparam_infos) and len(metrics) == len(before.metric_infos):
        return
    for name, info in hyper.items():
        info.differs = name in _FIRST
    experiment = Experiment(
        hparam_infos=[hyper[name] for name in sorted(hyper)], metric_infos=metrics.values()
    )
    merged.experiment.CopyFrom(experiment)
    columns.value[0].metadata.plugin_data.content = merged.SerializeToString()
    # A name of its own: a server that is reading the old file must not find another in its middle.
    number = 1 + max((int(file.name.split(".")[-2]) for file in files), default=0)
    file = folder / _COLUMNS.format(number)
    part = file.with_name(f"{number}.columns.part")
    with part.open("wb") as out:
        RecordWriter(out).write(Event(wall_time=time.time(), summary=columns).SerializeToString())
    part.replace(file)
    for old in files:
        old.unlink(missing_ok=True)


def _plugin_data(summary: Summary) -> HParamsPluginData:
    content: bytes = summary.value[0].metadata.plugin_data.content
    return HParamsPluginData.FromString(content)


def tag(name: str) -> str:
    """Where a metric stands in TensorBoard.

    >>> tag("val_r2"), tag("fit_rmse"), tag("epoch"), tag("coefficient/x1"), tag("training")
    ('val/r2', 'fit/rmse', 'descent/epoch', 'coefficient/x1', 'training')
    """
    if name == "epoch":
        return "descent/epoch"
    stage, _, metric = name.partition("_")
    return f"{stage}/{metric}" if stage in _STAGES and metric else name
