"""`linreg summary`: prints the coefficients of a checkpoint."""

import argparse
import json
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.callbacks.coefficient_file import report
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.defaults import ROOT
from linreg_lightning.errors import InputError
from linreg_lightning.models import RegressionModule


def summary(args: list[str]) -> str:
    """Return a fitted model's table of coefficients, or the content of coefficients.json.

    InputError says that there is no checkpoint, or that its model has no coefficients.
    """
    text = "Print the coefficients that a checkpoint holds."
    parser = argparse.ArgumentParser("linreg summary", description=text)
    parser.add_argument("--ckpt_path", default="last", help="a file, last or best (default: last)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    text = "where last and best look"
    parser.add_argument("--trainer.default_root_dir", dest="root", default=ROOT, help=text)
    given = parser.parse_args(args)
    checkpoint = CheckpointInfo.read(given.ckpt_path, given.root)
    class_path = checkpoint.model["class_path"] if checkpoint.model else "builtins.object"
    try:
        model_class: Any = resolve_name(class_path)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--ckpt_path: {checkpoint.path} holds a {class_path}, which cannot be found "
            f"({error}); go to the folder that it is in"
        ) from None
    if not issubclass(model_class, RegressionModule):
        raise InputError(f"--ckpt_path: {checkpoint.path} holds no model with coefficients")
    model = model_class.load_from_checkpoint(checkpoint.path, map_location="cpu", weights_only=True)
    if given.format == "json":
        return json.dumps(report(model), indent=2, ensure_ascii=False)
    return str(model.summary())
