"""`linreg summary`: prints the coefficients of a checkpoint."""

import argparse
import io
import json
from pkgutil import resolve_name
from typing import Any, get_args

import torch

from linreg_lightning.callbacks.coefficient_file import report
from linreg_lightning.cli.checkpoint_content import unusable
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import TRUST_HELP, check_classes
from linreg_lightning.cli.command import ROOT, active
from linreg_lightning.errors import InputError
from linreg_lightning.models import RegressionModule
from linreg_lightning.text_table import Format


def summary(args: list[str]) -> str:
    """Return a fitted model's summary in some format, or the content of coefficients.json.

    InputError says that there is no checkpoint, or that its model has no coefficients.
    """
    text = "Print the coefficients that a checkpoint holds."
    parser = argparse.ArgumentParser(f"{active().name} summary", description=text)
    parser.add_argument("--ckpt_path", default="last", help="a file, last or best (default: last)")
    formats = [*get_args(Format), "json"]
    parser.add_argument("--format", choices=formats, default="text", help="default: text")
    text = "where last and best look"
    parser.add_argument("--trainer.default_root_dir", dest="root", default=ROOT, help=text)
    parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
    given = parser.parse_args(args)
    checkpoint = CheckpointInfo.read(given.ckpt_path, given.root)
    check_classes(checkpoint, ["model"], None if given.trust else set())
    class_path = checkpoint.model["class_path"] if checkpoint.model else "builtins.object"
    model_class: Any = resolve_name(class_path)
    if not issubclass(model_class, RegressionModule):
        raise InputError(f"--ckpt_path: {checkpoint.path} holds no model with coefficients")
    content = io.BytesIO()  # instead of the file, which another run may have replaced
    hyper_parameters = dict(checkpoint.content["hyper_parameters"])
    hyper_parameters.pop("_instantiator", None)  # a function that Lightning would import
    torch.save(checkpoint.content | {"hyper_parameters": hyper_parameters}, content)
    content.seek(0)
    try:
        model = model_class.load_from_checkpoint(content, map_location="cpu", weights_only=True)
        if given.format == "json":
            return json.dumps(report(model), indent=2, ensure_ascii=False)
        return str(model.summary(given.format))
    except InputError:
        raise
    except (RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise unusable(checkpoint.path, error) from None
