"""Which classes a checkpoint may name: opening it imports their modules, which runs their code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

from linreg_lightning.cli.checkpoint_info import OPTIMIZER_KEY, CheckpointInfo
from linreg_lightning.cli.command import active
from linreg_lightning.cli.error_messages import BASES
from linreg_lightning.cli.stored_arguments import class_paths, imported_by_arguments, is_imported
from linreg_lightning.errors import InputError

PACKAGES = {__name__.partition(".")[0], "lightning", "torch"}
_CONTENT_KEYS = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}
RUN_KEY = "run_written"
CONFIG = "config.yaml"
TRUST_HELP = "Import whatever classes the checkpoint names, also from unknown modules."


def check_classes(
    checkpoint: CheckpointInfo,
    keys: Sequence[str],
    named: set[str] | None,
    typed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse a checkpoint with classes of unknown modules, or with classes that do not exist.

    Args:
        checkpoint: it names the classes of its model and data, and perhaps others in their
            arguments.
        keys: which classes the command uses: model, data.
        named: the class paths that the user has typed, whose packages are known; None trusts all.
        typed: the classes that the user has typed, by key. One takes the place of a class that is
            no longer there: it was renamed, or its module was.

    Raises:
        InputError: a class is of another module than ours, Lightning's, torch's, one already
            imported, one that the user has named, or one of an own run; or it is no model, or no
            data module.
    """
    file = checkpoint.path
    packages = PACKAGES | active().packages | {name.partition(".")[0] for name in named or ()}
    if is_own_run(checkpoint):
        named = None
    if named is not None:
        for class_path in class_paths(checkpoint.content.get(OPTIMIZER_KEY)):
            _check_module(class_path, packages, file, "")
    for key in keys:
        stored = getattr(checkpoint, key)
        if stored is None:
            continue
        new_path = typed.get(key, "")
        if "." in new_path and _is_gone(stored["class_path"], packages, named is None):
            stored["class_path"] = new_path
            checkpoint.content[_CONTENT_KEYS[key]]["_class_path"] = new_path
        class_path = stored["class_path"]
        if named is not None:
            _check_module(class_path, packages, file, f" name it (--{key} {class_path}), or")
        cls = _import(key, class_path, file)
        try:
            imported = imported_by_arguments(cls, stored["init_args"])
        except RecursionError:
            text = f"{file} has arguments of the {key} that contain themselves"
            raise InputError(f"--ckpt_path: {text}; use another checkpoint") from None
        for path in imported if named is not None else ():
            _check_module(path, packages, file, "")
        _check_arguments(cls, stored, file)


def time_written(config: Path) -> int:
    """Return when a run's config.yaml got its place, in nanoseconds; 0 if there is none.

    The file system sets this time, and sets it anew in a copy, whatever the file's date says.
    """
    try:
        return config.stat().st_ctime_ns
    except OSError:
        return 0


def is_own_run(checkpoint: CheckpointInfo) -> bool:
    """Whether a checkpoint lies beside the very config.yaml that its run has written here.

    The user has then named its classes on the command line of that run. A folder that was copied,
    unpacked or downloaded has another time, which the writer of a foreign checkpoint cannot know.
    """
    written = checkpoint.content.get(RUN_KEY)
    if not isinstance(written, int) or not written:
        return False
    return any(time_written(each / CONFIG) == written for each in checkpoint.path.resolve().parents)


def _is_gone(class_path: str, packages: set[str], trusted: bool) -> bool:
    """Whether there is no such class; finding out runs the code of known modules only."""
    package = class_path.partition(".")[0]
    try:
        if not trusted and package not in packages and package not in sys.modules:
            return find_spec(package) is None
        resolve_name(class_path)
    except (ImportError, AttributeError, ValueError):
        return True
    return False


def _check_arguments(cls: type, stored: dict[str, Any], file: Path) -> None:
    """Refuse arguments that the class no longer takes, which the user has not typed.

    Those that only its `**kwargs` take are what the parser calls `dict_kwargs`.
    """
    arguments: dict[str, Any] = stored["init_args"]
    known = {n: p for base in cls.__mro__ for n, p in signature(base.__init__).parameters.items()}  # type: ignore[misc]
    unknown = [name for name in arguments if name not in known]
    if any(p.kind is Parameter.VAR_KEYWORD for p in signature(cls).parameters.values()):
        if unknown:
            stored["dict_kwargs"] = {name: arguments.pop(name) for name in unknown}
    elif unknown := [name for name in arguments if name not in signature(cls).parameters]:
        raise InputError(
            f"--ckpt_path: {file} was made with {unknown[0]} {arguments[unknown[0]]}, and "
            f"{cls.__name__} has no argument {unknown[0]} now; give it to its __init__ again, "
            "which may ignore it, or fit the model again"
        )


def _check_module(class_path: str, packages: set[str], file: Path, remedy: str) -> None:
    if class_path.partition(".")[0] in packages or is_imported(class_path):
        return
    raise InputError(
        f"--ckpt_path: {file} names the class {class_path}, and opening it would run the code of "
        f"that module; if you know it,{remedy} type --trust"
    )


def _import(key: str, class_path: str, file: Path) -> type:
    try:
        cls: Any = resolve_name(class_path)
    except Exception as error:  # a module may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"--ckpt_path: {file} holds a {class_path}, which cannot be imported in the folder "
            f"{Path.cwd()} ({reason}); go to the folder of its module, or type its new name "
            f"(--{key} package.Class)"
        ) from None
    if not isinstance(cls, type) or not issubclass(cls, BASES[key]):
        text = f"{file} names {class_path}, which is no {BASES[key].__name__}"
        raise InputError(f"--ckpt_path: {text}; use another checkpoint")
    return cls
