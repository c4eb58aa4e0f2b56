"""What a checkpoint says of the run it came from."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import torch

from linreg_lightning.errors import InputError


class Stored(NamedTuple):
    """The classes and hyper-parameters in a checkpoint, as defaults for a command line.

    Attributes:
        path: the file.
        model: `{"class_path": ..., "init_args": {...}}`, or None where it does not say.
        data: the same of the data module.
        epochs: how many it has run.
        complete: whether it holds the statistics of all rows of its data.
    """

    path: Path
    model: dict[str, Any] | None
    data: dict[str, Any] | None
    epochs: int
    complete: bool

    @classmethod
    def read(cls, ckpt_path: str, root: str) -> Stored:
        """Find a checkpoint and read what it says.

        Args:
            ckpt_path: a file; `last`, the newest checkpoint below root; or `best`, the one that the
                run of the newest found best.
            root: the folder that runs write below.

        Raises:
            InputError: there is no such file, or it is no checkpoint.
        """
        path = _newest(Path(root)) if ckpt_path in ("last", "best") else Path(ckpt_path)
        content = _load(path)
        if ckpt_path == "best":
            path = _best(content, path)
            content = _load(path)
        return cls(
            path,
            _defaults(content.get("hyper_parameters", {})),
            _defaults(content.get("datamodule_hyper_parameters", {})),
            content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
            content.get("statistics", {}).get("done") is not None,
        )

    def check_model(self, given: dict[str, Any]) -> None:
        """Refuse a model that is not the checkpoint's.

        Args:
            given: class path and arguments, parsed with the checkpoint's own as defaults: what
                differs has been typed.

        Raises:
            InputError: the class or an argument differs.
        """
        if self.model is None:
            return
        if resolve_name(given["class_path"]) is not resolve_name(self.model["class_path"]):
            raise InputError(
                f"--model: {given['class_path']} was given, but {self.path} holds a "
                f"{self.model['class_path']}; leave --model out"
            )
        arguments = given.get("init_args", {})
        for name, value in self.model["init_args"].items():
            if name in arguments and arguments[name] != value:
                raise InputError(
                    f"--model.{name}: {arguments[name]} was given, but {self.path} was made with "
                    f"{value}; leave --model.{name} out, or start anew without --ckpt_path"
                )


def _newest(root: Path) -> Path:
    files = sorted(root.glob("**/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        raise InputError(
            f"--ckpt_path: there is no checkpoint below {root}; fit a model first (linreg fit), or "
            "type a checkpoint's path"
        )
    return files[-1]


def _best(content: dict[str, Any], path: Path) -> Path:
    states: dict[str, Any] = content.get("callbacks", {})
    for name, state in states.items():
        if name.startswith("ModelCheckpoint") and state.get("best_model_path"):
            return Path(state["best_model_path"])
    raise InputError(f"--ckpt_path: {path} does not say which is best; type a checkpoint's path")


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"--ckpt_path: there is no file {path}; type a checkpoint's path, or last")
    content: Any = None
    # What torch saves is a ZIP archive; anything else would be taken for its format of old.
    if zipfile.is_zipfile(path):
        with contextlib.suppress(RuntimeError, pickle.UnpicklingError):
            content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or "loops" not in content:
        raise InputError(f"--ckpt_path: {path} is no checkpoint of a Lightning model")
    return content


def _defaults(hyper_parameters: dict[str, Any]) -> dict[str, Any] | None:
    if "_class_path" not in hyper_parameters:
        return None
    arguments = {k: v for k, v in hyper_parameters.items() if not k.startswith("_")}
    return {"class_path": hyper_parameters["_class_path"], "init_args": arguments}
