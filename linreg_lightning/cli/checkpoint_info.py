"""What a checkpoint says about the run that wrote it."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn

import torch
import yaml

from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import find_files

# Arguments of data that change neither the rows nor their splits.
READING_ARGUMENTS = frozenset({"batch_size", "shuffle", "stream", "unseen"})
# Arguments of data that a fit has turned into the design in the checkpoint.
COLUMN_ARGUMENTS = frozenset({"features", "exclude", "categorical", "max_levels", "design"})
# Arguments of the Trainer that a resumed run keeps.
TRAINER_ARGUMENTS = (
    *("max_epochs", "max_steps", "precision", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "overfit_batches"),
)
REMEDY = ", or start anew without --ckpt_path"


class CheckpointInfo(NamedTuple):
    """The content of a checkpoint that decides defaults of a command line.

    `model` and `data` are `{"class_path": ..., "init_args": {...}}`, or None if the checkpoint does
    not say it. Its statistics hold all rows of `fitted_data`; if `partial`, only some of the rows
    of an interrupted pass. `trainer_settings` are the run's TRAINER_ARGUMENTS, by option.
    """

    path: Path
    model: dict[str, Any] | None
    data: dict[str, Any] | None
    fitted_data: list[dict[str, Any]]
    partial: bool
    epochs: int
    batches: int
    trainer_settings: dict[str, Any]

    @classmethod
    def read(cls, ckpt_path: str, root: str) -> CheckpointInfo:
        """Read a file; or `last`, the newest one below root; or `best`, the best of its run."""
        path = _newest(Path(root)) if ckpt_path in ("last", "best") else Path(ckpt_path)
        content = _load(path)
        if ckpt_path == "best":
            path = _best(content, path)
            content = _load(path)
        progress = content["loops"]["fit_loop"]
        statistics = content.get("statistics", {})
        partial = statistics.get("partial") is not None
        data = _class_and_arguments(content.get("datamodule_hyper_parameters", {}))
        earlier_data = map(_class_and_arguments, content.get("earlier_data", []))
        done = data is not None and statistics.get("done") is not None and not partial
        return cls(
            path,
            _class_and_arguments(content.get("hyper_parameters", {})),
            data,
            [each for each in (data, *earlier_data) if each] if done else [],
            partial,
            progress["epoch_progress"]["current"]["processed"],
            progress["epoch_loop.batch_progress"]["total"]["ready"],
            _trainer_settings(path),
        )

    def check_model(self, given: dict[str, Any]) -> None:
        """Refuse a class or an argument that differs from the checkpoint's model."""
        if self.model is None:
            return
        model_class = resolve_name(given["class_path"])
        if model_class is not resolve_name(self.model["class_path"]):
            _refuse("model", given["class_path"], f"{self.path} holds a {self.model['class_path']}")
        for name, (stored, value) in _differences(self.model, given).items():
            if name not in getattr(model_class, "revisable", ()):
                _refuse(f"model.{name}", value, f"{self.path} was made with {stored}", REMEDY)

    def check_data(self, given: dict[str, Any], fitting: bool) -> None:
        """Refuse arguments that would mix rows that were held out with rows that were not.

        Another path is another table: then only the arguments that the design holds must agree. A
        fit that resumes an interrupted pass needs all arguments of the first run.
        """
        if self.data is None or given.get("class_path") != self.data["class_path"]:
            return
        arguments, differences = self.data["init_args"], _differences(self.data, given)
        same_rows = "path" not in differences and ("path" in arguments or fitting)
        for name, (stored, value) in differences.items():
            if name in COLUMN_ARGUMENTS and arguments.get("design") is not None:
                learned = f"what the columns are was learned with {stored}"
                _refuse(f"data.{name}", value, learned, REMEDY)
            if (fitting and self.partial) or (same_rows and name not in READING_ARGUMENTS):
                made = f"{self.path} was made with {stored} from the same rows"
                _refuse(f"data.{name}", value, made, f", name another table{REMEDY}")

    def has_rows_of(self, given: dict[str, Any]) -> bool:
        """Whether the statistics hold some of the rows that the data arguments name."""
        if "path" in given.get("init_args", {}):
            files = _files(given["init_args"]["path"])
            return any(files & _files(data["init_args"].get("path")) for data in self.fitted_data)
        return any(
            data["class_path"] == given.get("class_path")
            and _differences(data, given).keys() <= READING_ARGUMENTS
            for data in self.fitted_data
        )


def _refuse(option: str, value: Any, reason: str, remedies: str = "") -> NoReturn:
    raise InputError(f"--{option}: {value} was given, but {reason}; leave --{option} out{remedies}")


def _trainer_settings(path: Path) -> dict[str, Any]:
    file = path.parent.parent / "config.yaml"
    if not file.is_file():
        return {}
    trainer = yaml.safe_load(file.read_text(encoding="utf-8")).get("trainer") or {}
    return {f"trainer.{name}": trainer[name] for name in TRAINER_ARGUMENTS if name in trainer}


def _differences(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return stored and given value of the arguments that differ, also as text."""
    arguments = given.get("init_args", {})
    return {
        name: (value, arguments[name])
        for name, value in stored["init_args"].items()
        if name in arguments and arguments[name] != value and str(arguments[name]) != str(value)
    }


def _files(paths: Any) -> set[str]:
    """Return the paths given, and those of all files in them; absolute, except addresses."""
    names = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths or ())]
    for name in [name for name in names if "://" not in name]:
        with contextlib.suppress(InputError):  # the file may be gone
            names += [file.path for file in find_files(name)]
    return {name if "://" in name else str(Path(name).resolve()) for name in names}


def _newest(root: Path) -> Path:
    if files := list(root.glob("**/*.ckpt")):
        return max(files, key=lambda file: file.stat().st_mtime_ns)
    raise InputError(
        f"--ckpt_path: there is no checkpoint below {root}; fit a model first (linreg fit), or "
        "type a checkpoint's path"
    )


def _best(content: dict[str, Any], path: Path) -> Path:
    for name, state in content.get("callbacks", {}).items():
        if name.startswith("ModelCheckpoint") and state.get("best_model_path"):
            return Path(state["best_model_path"])
    raise InputError(f"--ckpt_path: {path} does not say which is best; type a checkpoint's path")


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"--ckpt_path: there is no file {path}; type a checkpoint's path, or last")
    content: Any = None
    if zipfile.is_zipfile(path):  # torch would read anything else as its format before 1.6
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"--ckpt_path: {path} cannot be read safely ({reason})") from None
        except Exception:
            pass  # torch raises all kinds of errors for other and for damaged archives
    if not isinstance(content, dict) or "loops" not in content:
        raise InputError(f"--ckpt_path: {path} is not a checkpoint of a Lightning model")
    return content


def _class_and_arguments(hyper_parameters: dict[str, Any]) -> dict[str, Any] | None:
    if "_class_path" not in hyper_parameters:
        return None
    arguments = {k: v for k, v in hyper_parameters.items() if not k.startswith("_")}
    return {"class_path": hyper_parameters["_class_path"], "init_args": arguments}
