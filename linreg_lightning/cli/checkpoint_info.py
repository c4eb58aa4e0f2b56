"""What a checkpoint says about the run that wrote it."""

from __future__ import annotations

import contextlib
import os
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn

from lightning.pytorch.utilities import rank_zero_only

from linreg_lightning.checkpoint_file import UnreadableCheckpointError, read_checkpoint
from linreg_lightning.cli.command import active
from linreg_lightning.cli.measured_rows import choose_rows, files_of
from linreg_lightning.cli.settings_file import read_settings
from linreg_lightning.cli.stored_arguments import differing_arguments, is_unknown
from linreg_lightning.cli.terminal import say
from linreg_lightning.data import TabularData
from linreg_lightning.errors import InputError

# Arguments of data that change neither the rows nor their splits.
READING_ARGUMENTS = frozenset({"batch_size", "shuffle", "stream", "unseen"})
# Arguments of data that a fit has turned into the design in the checkpoint.
COLUMN_ARGUMENTS = frozenset(
    {"features", "exclude", "categorical", "max_levels", "design", "dates", "formula"}
)
# Arguments of the Trainer that a resumed run keeps.
TRAINER_ARGUMENTS = (
    *("max_epochs", "max_steps", "precision", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "overfit_batches"),
)
REMEDY = ", or start anew without --ckpt_path"
CHANGE_REMEDY = ", or type --change to go on with the new value"
PACKAGE = __name__.partition(".")[0]
# Arguments of this package's models that decide what their weights mean.
FIXED_ARGUMENTS = frozenset({"intercept", "standardize", "in_features", "out_features"})
# The key under which a checkpoint keeps the options --optimizer and --lr_scheduler.
OPTIMIZER_KEY = "optimizer_settings"
# How often `last` looks again when another run has just replaced the newest checkpoint.
ATTEMPTS = 100


class CheckpointInfo(NamedTuple):
    """The content of a checkpoint that decides defaults of a command line.

    `model` and `data` are `{"class_path": ..., "init_args": {...}}`, or None if the checkpoint does
    not say it. Its statistics hold all rows of `fitted_data`; if `partial`, only some of the rows
    of an interrupted pass. The rest of `content` is for the Trainer.
    """

    path: Path
    model: dict[str, Any] | None
    data: dict[str, Any] | None
    fitted_data: list[dict[str, Any]]
    partial: bool
    epochs: int
    batches: int
    content: dict[str, Any]

    @classmethod
    def read(cls, ckpt_path: str, root: str, weights_only: bool = True) -> CheckpointInfo:
        """Read a file; or `last`, the newest one below root; or `best`, the best of its run.

        `weights_only` refuses files with objects that are no plain values.
        """
        if ckpt_path not in ("last", "best"):
            return cls._of_file(Path(ckpt_path), weights_only)
        info = cls._newest(Path(root), weights_only)
        return info if ckpt_path == "last" else cls._of_file(info._best_path(), weights_only)

    @classmethod
    def _of_file(cls, path: Path, weights_only: bool) -> CheckpointInfo:
        try:
            return cls._of(path, read_checkpoint(path, weights_only))
        except FileNotFoundError:
            text = f"there is no file {path}; type a checkpoint's path, or last"
            raise InputError(f"--ckpt_path: {text}") from None
        except InputError as error:
            raise InputError(f"--{error}") from None

    @classmethod
    def _of(cls, path: Path, content: dict[str, Any]) -> CheckpointInfo:
        try:
            progress = content["loops"]["fit_loop"]
            statistics = content.get("statistics", {})
            partial = statistics.get("partial") is not None
            partial = partial or "pass" in content.get("later_passes", {})
            data = _class_and_arguments(content.get("datamodule_hyper_parameters", {}))
            earlier_data = map(_class_and_arguments, content.get("earlier_data", []))
            done = data is not None and statistics.get("done") is not None and not partial
            return cls(
                path,
                _class_and_arguments(content.get("hyper_parameters", {})),
                data,
                [each for each in (data, *earlier_data) if each] if done else [],
                partial,
                int(progress["epoch_progress"]["current"]["processed"]),
                int(progress["epoch_loop.batch_progress"]["total"]["ready"]),
                content,
            )
        except (KeyError, TypeError, AttributeError, ValueError):
            reason = "it is not a checkpoint that this version of Lightning writes"
            raise UnreadableCheckpointError(f"ckpt_path: {path} cannot be used: {reason}") from None

    @classmethod
    def _newest(cls, root: Path, weights_only: bool) -> CheckpointInfo:
        """Return the newest checkpoint that can be read; say which newer ones cannot."""
        for _ in range(ATTEMPTS):
            refusals: list[str] = []
            with contextlib.suppress(FileNotFoundError):  # another run has removed the file
                # A link to nowhere exists no more than the file that it names.
                files = [file for file in root.glob("**/*.ckpt") if file.exists()]
                for path in sorted(files, key=lambda file: -file.stat().st_mtime_ns):
                    try:
                        info = cls._of(path, read_checkpoint(path, weights_only))
                    except UnreadableCheckpointError as error:
                        refusals.append(str(error).removeprefix("ckpt_path: "))
                        continue
                    except InputError as error:
                        raise InputError(f"--{error}") from None
                    for refusal in refusals:
                        text = f"--ckpt_path: {refusal}; {path} is used instead"
                        rank_zero_only(say)(f"warning: {text}")
                    return info
                break
        if refusals:
            raise InputError(f"--ckpt_path: no checkpoint below {root} can be read; {refusals[0]}")
        raise InputError(
            f"--ckpt_path: there is no checkpoint below {root}; fit a model first "
            f"({active().name} fit), or type a checkpoint's path"
        )

    def _best_path(self) -> Path:
        callbacks = self.content.get("callbacks")
        for name, state in callbacks.items() if isinstance(callbacks, dict) else ():
            if str(name).startswith("ModelCheckpoint") and isinstance(state, dict):
                path, folder = state.get("best_model_path"), state.get("dirpath")
                if isinstance(path, str) and path:
                    # Both are as the run saw them; the folder of runs may have been moved since.
                    place = os.path.relpath(path, folder) if isinstance(folder, str) else path
                    moved = (Path(os.path.normpath(each / place)) for each in self.path.parents)
                    return next((file for file in moved if file.is_file()), Path(path))
        text = f"{self.path} does not say which is best; type a checkpoint's path"
        raise InputError(f"--ckpt_path: {text}")

    def trainer_settings(self) -> dict[str, Any]:
        """Return the run's TRAINER_ARGUMENTS, by option, from the config.yaml of its folder."""
        file = self.path.parent.parent / "config.yaml"
        if not file.is_file():
            return {}
        try:
            trainer = read_settings(file)["trainer"]
            settings = {name: trainer[name] for name in TRAINER_ARGUMENTS if name in trainer}
            if all(isinstance(value, int | float | str | None) for value in settings.values()):
                return {f"trainer.{name}": value for name, value in settings.items()}
            reason = "its trainer settings are not plain values"
        except InputError as error:
            reason = str(error)
        except (KeyError, TypeError):
            reason = "it has no settings of a trainer"
        raise InputError(
            f"--ckpt_path: {file}, which has the settings of {self.path}, cannot be used ({reason})"
            "; remove it, and type the settings, such as --trainer.max_epochs"
        )

    def model_changes(self, given: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return stored and given value of the model's arguments that may not differ silently."""
        if self.model is None:
            return {}
        revisable = getattr(resolve_name(given["class_path"]), "revisable", ())
        differing = differing_arguments("model", self.model, given)
        return {name: values for name, values in differing.items() if name not in revisable}

    def check_model(self, given: dict[str, Any], fitting: bool, change: bool) -> None:
        """Refuse a class or an argument that differs from the checkpoint's model.

        Of a model that is fitted in steps, `change` allows other arguments, except those that
        decide what its weights mean.
        """
        if self.model is None:
            return
        model_class: Any = resolve_name(given["class_path"])
        if model_class is not resolve_name(self.model["class_path"]):
            _refuse("model", given["class_path"], f"{self.path} holds a {self.model['class_path']}")
        is_ours = hasattr(model_class, "revisable")
        for name, (stored, value) in self.model_changes(given).items():
            is_fixed = is_ours and (model_class.one_pass or name in FIXED_ARGUMENTS)
            if is_fixed or not change:
                remedies = REMEDY + (CHANGE_REMEDY if fitting and not is_fixed else "")
                _refuse(f"model.{name}", value, f"{self.path} was made with {stored}", remedies)

    def check_data(self, given: dict[str, Any], command: str, change: bool) -> None:
        """Refuse arguments that would mix rows that were held out with rows that were not.

        Another table has other rows: then only the arguments that the design holds must agree. A
        fit that resumes an interrupted pass needs all arguments of the first run. Arguments that
        others replace lose their values, as `choose_rows` says. Of classes from outside this
        package, `change` allows other arguments, except those that they have from TabularData.
        """
        if self.data is None or given.get("class_path") != self.data["class_path"]:
            return
        arguments, fitting = self.data["init_args"], command == "fit"
        is_own = not given["class_path"].startswith(f"{PACKAGE}.")
        fixed = _table_arguments(given["class_path"])
        may_differ = choose_rows(arguments, given.get("init_args", {}), command)
        differences = differing_arguments("data", self.data, given)
        same_rows = "path" not in differences and ("path" in arguments or fitting)
        same_rows = same_rows or may_differ == {"path"}
        for name, (stored, value) in differences.items():
            may_change = fitting and is_own and not self.partial and name not in fixed
            if may_change and change:
                continue
            remedies = REMEDY + (CHANGE_REMEDY if may_change else "")
            if name in COLUMN_ARGUMENTS and arguments.get("design") is not None:
                learned = f"what the columns are was learned with {stored}"
                _refuse(f"data.{name}", value, learned, remedies)
            if name in may_differ:
                continue
            if (fitting and self.partial) or (same_rows and name not in READING_ARGUMENTS):
                made = f"{self.path} was made with {stored} from the same rows"
                other = ", name another table" if "path" in arguments else ""
                _refuse(f"data.{name}", value, made, f"{other}{remedies}")

    def has_rows_of(self, given: dict[str, Any]) -> bool:
        """Whether the statistics hold some of the rows that the data arguments name."""
        if "path" in given.get("init_args", {}):
            files = files_of(given["init_args"]["path"])
            return any(files & files_of(data["init_args"].get("path")) for data in self.fitted_data)
        return any(
            data["class_path"] == given.get("class_path")
            and differing_arguments("data", data, given).keys() <= READING_ARGUMENTS
            for data in self.fitted_data
        )


def _table_arguments(class_path: str) -> set[str]:
    """Return the arguments that a class has from TabularData."""
    is_table = issubclass(resolve_name(class_path), TabularData)
    return set(signature(TabularData).parameters) if is_table else set()


def _refuse(option: str, value: Any, reason: str, remedies: str = "") -> NoReturn:
    raise InputError(f"--{option}: {value} was given, but {reason}; leave --{option} out{remedies}")


def _class_and_arguments(hyper_parameters: dict[str, Any]) -> dict[str, Any] | None:
    if "_class_path" not in hyper_parameters:
        return None
    arguments = {
        k: v for k, v in hyper_parameters.items() if not k.startswith("_") and not is_unknown(v)
    }
    class_path = hyper_parameters["_class_path"]
    if not isinstance(class_path, str):
        raise TypeError
    return {"class_path": class_path, "init_args": arguments}
