"""What the callbacks write to TensorBoard beyond scalars."""

import struct
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def tensorboard_writers(trainer: Trainer) -> Iterator[Any]:
    """Yield the SummaryWriter of each TensorBoard logger, on the first process only."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment


def add_png(trainer: Trainer, tag: str, content: bytes) -> None:
    """Add a PNG file as an image; SummaryWriter itself would decode and compress it again."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = struct.unpack(">II", content[16:24])  # their place in every PNG file
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=content)
    for writer in tensorboard_writers(trainer):
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        writer.file_writer.add_summary(summary, trainer.global_step)


def rows_by_tag(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key rows of the table of coefficients by name, after the target where there are several.

    >>> list(rows_by_tag([{"target": "y1", "name": "x1"}, {"target": "y2", "name": "x1"}]))
    ['y1/x1', 'y2/x1']
    """
    several = len({row["target"] for row in rows}) > 1
    return {f"{row['target']}/{row['name']}" if several else row["name"]: row for row in rows}
