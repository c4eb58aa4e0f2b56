"""What the callbacks write to TensorBoard beyond scalars, and pictures for other loggers."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CometLogger, MLFlowLogger, TensorBoardLogger


def tensorboard_writers(trainer: Trainer) -> Iterator[Any]:
    """Yield the SummaryWriter of each TensorBoard logger, on the first process only."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment


def log_picture(trainer: Trainer, tag: str, file: Path) -> None:
    """Give a PNG file, which may change later, to each logger that takes pictures.

    Those are TensorBoard's, MLflow's, Comet's, and any with `log_image(key, images, step)`, such
    as that of Weights & Biases.
    """
    step = trainer.global_step
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            add_png(logger.experiment, tag, file.read_bytes(), step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(file), "figures")
        elif isinstance(logger, CometLogger):
            logger.experiment.log_image(str(file), name=tag, step=step)
        elif callable(log_image := getattr(logger, "log_image", None)):
            log_image(key=tag, images=[str(file)], step=step)


def add_png(writer: Any, tag: str, content: bytes, step: int) -> None:
    """Add a PNG file as an image; SummaryWriter itself would decode and compress it again."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = struct.unpack(">II", content[16:24])  # their place in every PNG file
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=content)
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def rows_by_tag(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key rows of the table of coefficients by name, after the target where there are several.

    >>> list(rows_by_tag([{"target": "y1", "name": "x1"}, {"target": "y2", "name": "x1"}]))
    ['y1/x1', 'y2/x1']
    """
    several = len({row["target"] for row in rows}) > 1
    return {f"{row['target']}/{row['name']}" if several else row["name"]: row for row in rows}
