"""`linreg summary`: a checkpoint's table, again."""

from __future__ import annotations

import argparse
import json
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.callbacks.coefficient_file import report
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.import_path import on_import_path
from linreg_lightning.errors import InputError
from linreg_lightning.models import RegressionModule


def summary(args: list[str]) -> str:
    """What `linreg summary` prints: a fitted model's table, or what coefficients.json holds.

    Args:
        args: the words after `summary`.

    Raises:
        InputError: no checkpoint is given or found, or its model has no coefficients.
        SystemExit: the words are not understood.
    """
    parser = argparse.ArgumentParser(
        "linreg summary", description="Print the coefficients that a checkpoint holds."
    )
    parser.add_argument(
        "--ckpt_path", default="last", help="a file, or last or best (default: last)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--trainer.default_root_dir", dest="root", default="logs", help="where last and best look"
    )
    given = parser.parse_args(args)
    stored = CheckpointInfo.read(given.ckpt_path, given.root)
    cls: Any = None
    if stored.model is not None:
        with on_import_path():
            try:
                cls = resolve_name(stored.model["class_path"])
            except (ImportError, AttributeError) as error:
                raise InputError(
                    f"--ckpt_path: {stored.path} holds a {stored.model['class_path']}, which "
                    f"cannot be found ({error}); go to the folder that it is in"
                ) from None
    if cls is None or not issubclass(cls, RegressionModule):
        raise InputError(f"--ckpt_path: {stored.path} holds no model with coefficients")
    model = cls.load_from_checkpoint(stored.path, map_location="cpu", weights_only=True)
    if given.format == "json":
        return json.dumps(report(model), indent=2, ensure_ascii=False)
    text: str = model.summary()
    return text
