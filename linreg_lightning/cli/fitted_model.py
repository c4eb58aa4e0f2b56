"""Loads the model of a checkpoint for commands that print what was fitted."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any, get_args

import torch

from linreg_lightning.cli.checkpoint_content import unusable
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import TRUST_HELP, check_classes
from linreg_lightning.cli.command import ROOT, active
from linreg_lightning.errors import InputError
from linreg_lightning.models import LeastSquares, RegressionModule
from linreg_lightning.text_table import Format


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options --test, --format, --trainer.default_root_dir, --trust."""
    parser = argparse.ArgumentParser(f"{active().name} {name}", description=description)
    text = "test linear hypotheses about coefficients, such as 'x1 = x2, 2*x3 + x4 = 1'"
    parser.add_argument("--test", metavar="HYPOTHESES", help=text)
    formats = [*get_args(Format), "json"]
    parser.add_argument("--format", choices=formats, default="text", help="default: text")
    text = "where last and best look"
    parser.add_argument("--trainer.default_root_dir", dest="root", default=ROOT, help=text)
    parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


@contextmanager
def fitted_model(ckpt_path: str, root: str, trust: bool) -> Iterator[Any]:
    """Give the model of a checkpoint; what does not fit its content becomes an InputError.

    Raises:
        InputError: there is no checkpoint, or its model has no coefficients.
    """
    checkpoint = CheckpointInfo.read(ckpt_path, root)
    check_classes(checkpoint, ["model"], None if trust else set())
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
        yield model_class.load_from_checkpoint(content, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except (RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise unusable(checkpoint.path, error) from None


def fit_of(model: Any, ckpt_path: str) -> Any:
    """Return the `Fit` of a model.

    Raises:
        InputError: the model is no LeastSquares, or was fitted to groups of rows.
    """
    if not isinstance(model, LeastSquares):
        raise InputError(
            f"--ckpt_path: {ckpt_path} holds a {type(model).__name__}, which has no standard "
            "errors; fit with --model LeastSquares"
        )
    if model.group_table() is not None:
        raise InputError(
            f"--ckpt_path: {ckpt_path} holds fits of groups of rows, which have no common test; "
            "fit without --data.by"
        )
    return model.fit_result()


def hypothesis_test(fit: Any, text: str) -> Any:
    """Return `fit.test(text)`, whose messages name the option."""
    try:
        return fit.test(text)
    except InputError as error:
        raise InputError(str(error).replace("hypotheses:", "--test:", 1)) from None


def json_text(content: Any) -> str:
    """Return JSON with null for NaN and infinity, which JSON does not have."""
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    return json.dumps(plain, indent=2, ensure_ascii=False)
