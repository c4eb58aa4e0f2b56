"""What Lightning's loggers have no common word for: pictures, text and layouts in TensorBoard."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def writers(trainer: Trainer) -> Iterator[Any]:
    """The SummaryWriter of each TensorBoard logger of the run; none but on the first process."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment


def add_png(trainer: Trainer, tag: str, content: bytes) -> None:
    """Add a picture as it is: SummaryWriter itself would decode and compress it once more."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = struct.unpack(">II", content[16:24])  # PNG: signature, length, "IHDR", these
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=content)
    for writer in writers(trainer):
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        writer.file_writer.add_summary(summary, trainer.global_step)


def tags_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of a table by what their scalars are called: the target's name is in front if it must.

    >>> list(tags_of([{"target": "y1", "name": "x1"}, {"target": "y2", "name": "x1"}]))
    ['y1/x1', 'y2/x1']
    """
    several = len({row["target"] for row in rows}) > 1
    return {f"{row['target']}/{row['name']}" if several else row["name"]: row for row in rows}
