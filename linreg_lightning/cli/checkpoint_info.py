"""What a checkpoint says of the run it came from."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import torch
import yaml

from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import find_files


class CheckpointInfo(NamedTuple):
    """The classes and hyper-parameters in a checkpoint, as defaults for a command line.

    Attributes:
        path: the file.
        model: `{"class_path": ..., "init_args": {...}}`, or None where it does not say.
        data: the same of the data module.
        earlier: the arguments of data that were fitted before these, whose rows it holds too.
        epochs: how many it has run.
        batches: how many it has trained on.
        complete: whether it holds the statistics of all rows of its data.
        under_way: whether it holds those of a pass that was interrupted.
        settings: of the run's Trainer, those that a resumed run goes on with, by option name.
    """

    path: Path
    model: dict[str, Any] | None
    data: dict[str, Any] | None
    earlier: list[dict[str, Any]]
    epochs: int
    batches: int
    complete: bool
    under_way: bool
    settings: dict[str, Any]

    @classmethod
    def read(cls, ckpt_path: str, root: str) -> CheckpointInfo:
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
        statistics = content.get("statistics", {"done": None, "partial": None})
        return cls(
            path,
            _defaults(content.get("hyper_parameters", {})),
            _defaults(content.get("datamodule_hyper_parameters", {})),
            content.get("earlier_data", []),
            content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
            content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"],
            statistics["done"] is not None and statistics["partial"] is None,
            statistics["partial"] is not None,
            _settings(path),
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
        model_class = resolve_name(given["class_path"])
        if model_class is not resolve_name(self.model["class_path"]):
            raise InputError(
                f"--model: {given['class_path']} was given, but {self.path} holds a "
                f"{self.model['class_path']}; leave --model out"
            )
        for name, value in _differences(self.model, given).items():
            if name in getattr(model_class, "revisable", ()):
                continue
            raise InputError(
                f"--model.{name}: {value} was given, but {self.path} was made with "
                f"{self.model['init_args'][name]}; leave --model.{name} out, or start anew without "
                "--ckpt_path"
            )

    def has_rows_of(self, given: dict[str, Any]) -> bool:
        """Whether some of the rows that the data arguments name are in its statistics."""
        if not self.complete or self.data is None:
            return False
        fitted = [self.data, *filter(None, map(_defaults, self.earlier))]
        if "path" in given.get("init_args", {}):
            files = _files(given["init_args"]["path"])
            paths = [data["init_args"].get("path", []) for data in fitted]
            return any(files & _files(path) for path in paths)
        return any(
            data["class_path"] == given.get("class_path")
            and not set(_differences(data, given)) - set(HOW_ROWS_ARE_READ)
            for data in fitted
        )

    def check_data(self, given: dict[str, Any], fitting: bool) -> None:
        """Refuse what would mix up the rows that were held out with those that were not.

        Args:
            given: class path and arguments, as in `check_model`.
            fitting: whether the run goes on with the fit; then it needs the same rows. Another path
                is another table, for which everything may be chosen but what its columns are to
                the model.

        Raises:
            InputError: an argument differs that decides the rows or their split.
        """
        same_class = self.data is not None and given.get("class_path") == self.data["class_path"]
        if self.data is None or not same_class:
            return
        differences = _differences(self.data, given)
        table = "path" in self.data["init_args"]
        for name in differences:
            if name in WHAT_COLUMNS_ARE and self.data["init_args"].get("design") is not None:
                raise InputError(
                    f"--data.{name}: {differences[name]} was given, but what the columns are was "
                    f"learned with {self.data['init_args'][name]}; leave --data.{name} out, or "
                    "start anew without --ckpt_path"
                )
        within_a_pass = fitting and self.under_way
        if not within_a_pass and ("path" in differences or not (table or fitting)):
            return
        for name, value in differences.items():
            if within_a_pass or name not in HOW_ROWS_ARE_READ:
                raise InputError(
                    f"--data.{name}: {value} was given, but {self.path} was made with "
                    f"{self.data['init_args'][name]} from the same rows; leave --data.{name} out, "
                    "name another table, or start anew without --ckpt_path"
                )


HOW_ROWS_ARE_READ = ("batch_size", "shuffle", "stream", "unseen")
"""Arguments of the data that leave the rows and their splits as they are."""
WHAT_COLUMNS_ARE = ("features", "exclude", "categorical", "max_levels", "design")
"""Arguments of the data that have been turned into the design in the checkpoint."""
RESUMED = (
    "max_epochs",
    "max_steps",
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
    "overfit_batches",
)
"""What a run is, rather than where it runs and what it shows."""


def _settings(path: Path) -> dict[str, Any]:
    """What the config.yaml beside a run's folder of checkpoints says of the Trainer."""
    file = path.parent.parent / "config.yaml"
    if not file.is_file():
        return {}
    trainer = yaml.safe_load(file.read_text(encoding="utf-8")).get("trainer") or {}
    return {f"trainer.{name}": trainer[name] for name in RESUMED if name in trainer}


def _differences(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The given arguments whose values are not those stored, whatever type they were parsed to."""
    arguments = given.get("init_args", {})
    return {
        name: arguments[name]
        for name, value in stored["init_args"].items()
        if name in arguments and arguments[name] != value and str(arguments[name]) != str(value)
    }


def _files(path: Any) -> set[str]:
    """By their full names, so that a file is found to be itself; addresses as they are."""
    files: set[str] = set()
    for one in map(str, [path] if isinstance(path, str | Path) else path):
        found = [one]
        if "://" not in one:
            with contextlib.suppress(InputError):  # it may be gone
                found = [file.path for file in find_files(one)]
            found = [str(Path(file).resolve()) for file in found]
        files |= set(found)
    return files


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
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"--ckpt_path: {path} cannot be read safely ({reason})") from None
        except Exception:
            pass  # an archive of something else, or a damaged one: torch may stumble over anything
    if not isinstance(content, dict) or "loops" not in content:
        raise InputError(f"--ckpt_path: {path} is not a checkpoint of a Lightning model")
    return content


def _defaults(hyper_parameters: dict[str, Any]) -> dict[str, Any] | None:
    if "_class_path" not in hyper_parameters:
        return None
    arguments = {k: v for k, v in hyper_parameters.items() if not k.startswith("_")}
    return {"class_path": hyper_parameters["_class_path"], "init_args": arguments}
