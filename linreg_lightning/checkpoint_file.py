"""Reads checkpoint files; refuses those that are damaged, foreign or unsafe."""

from __future__ import annotations

import pickle
import re
import zipfile
from functools import wraps
from inspect import Parameter, signature
from io import BytesIO
from pathlib import Path
from typing import IO, Any, final

import torch

from linreg_lightning.errors import InputError

_FOLDER_FLAG = 0x10  # of an archive's directory, in `external_attr`
_FRAME_NAMES = ("columns", "__arrow_c_stream__")  # one of these has every data frame
_REQUIRED = {"state_dict": dict, "loops": dict, "pytorch-lightning_version": str}


@final
class UnreadableCheckpointError(InputError):
    """A file that is damaged, cut off, of another kind, or that the user may not read."""


def read_checkpoint(path: Path, weights_only: bool = True) -> dict[str, Any]:
    """Return the content of a checkpoint, with its tensors on the CPU.

    The file stays open from the check of its checksums to the end, so that the content is whole
    even if another process replaces the file meanwhile.

    Args:
        path: the file.
        weights_only: whether to refuse objects other than tensors and plain values. Reading such
            objects runs any code that the writer of the file has chosen.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableCheckpointError: the file cannot be read, or is no checkpoint of Lightning.
        InputError: the file holds Python objects that run code when they are read.
    """
    try:
        if not path.exists():  # open has another error for a name with a zero byte
            raise FileNotFoundError
        with path.open("rb") as file:
            # torch would read anything but an archive as its old format.
            content = _load(file, path, weights_only) if check_archive(file, path) else None
    except FileNotFoundError:
        raise
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror or error}); type the path of a checkpoint"
        raise UnreadableCheckpointError(f"ckpt_path: {text}") from None
    if isinstance(content, dict) and all(
        isinstance(content.get(k), _REQUIRED[k]) for k in _REQUIRED
    ):
        return content
    raise UnreadableCheckpointError(f"ckpt_path: {path} is not a checkpoint of a Lightning model")


def check_archive(file: IO[bytes], path: Any) -> bool:
    """Compare an archive with its checksums, which torch does not do; False: it is no archive.

    Raises:
        UnreadableCheckpointError: the archive is damaged, cut off or empty.
    """
    start = file.read(4)
    try:
        if start not in (b"", b"PK\x03\x04") and not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            # In the place of a folder's content, torch returns memory as it happens to be.
            has_folder = any(entry.external_attr & _FOLDER_FLAG for entry in archive.infolist())
            is_whole = archive.testzip() is None and not has_folder
    except Exception:  # zipfile raises all kinds of errors for damaged archives
        is_whole = False
    if not is_whole:
        reason = "its content differs from its checksums" if start else "it is empty"
        text = f"ckpt_path: {path} is damaged or cut off ({reason}); use another checkpoint"
        raise UnreadableCheckpointError(text)
    file.seek(0)
    return True


def check_checkpoint(path: Any) -> None:
    """Compare a local file with its checksums; leave addresses and missing files to others."""
    if isinstance(path, str | Path) and Path(path).is_file():
        with Path(path).open("rb") as file:
            check_archive(file, path)


@final
class CheckedLoading:
    """The class method `load_from_checkpoint`; it checks the file's checksums before it loads."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: Any, cls: type) -> Any:
        # Lightning refuses the call on an instance, whose parameters it would not change.
        inherited = getattr(super(self._owner, instance or cls), self._name)

        @wraps(inherited)
        def load(checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
            check_checkpoint(checkpoint_path)
            if any(hasattr(type(v), name) for v in kwargs.values() for name in _FRAME_NAMES):
                # The parser, which Lightning asks to read the arguments of a command's run, knows
                # no frames.
                kwargs["_instantiator"] = None
                if _takes_all(cls) and isinstance(checkpoint_path, str | Path):
                    checkpoint_path = _without_class_path(cls, Path(checkpoint_path))
            return inherited(checkpoint_path, *args, **kwargs)

        return load


def _takes_all(cls: type) -> bool:
    """Whether a class takes arguments of any name, by `**kwargs`."""
    kinds = [parameter.kind for parameter in signature(cls).parameters.values()]
    return Parameter.VAR_KEYWORD in kinds


def _without_class_path(cls: Any, path: Path) -> IO[bytes]:
    """Return a checkpoint without `_class_path`, which Lightning would give to `**kwargs`."""
    content, key = read_checkpoint(path), cls.CHECKPOINT_HYPER_PARAMS_KEY
    arguments = content.get(key, {})
    file = BytesIO()
    torch.save(content | {key: {k: v for k, v in arguments.items() if k != "_class_path"}}, file)
    file.seek(0)
    return file


def _load(file: IO[bytes], path: Path, weights_only: bool) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=weights_only)
    except pickle.UnpicklingError as error:
        # The rest of torch's message explains how to switch this protection off.
        found = re.search(r"GLOBAL (\S+) was", str(error))
        kind = f"a {found[1]}" if found else "Python objects"
        plain = (
            "write a checkpoint whose hyper-parameters are plain numbers, texts, lists or tensors"
        )
        if found and found[1].startswith("numpy."):
            kind = f"a number or an array of numpy ({found[1]})"
            plain = "write float(number) or array.tolist() into the checkpoint instead"
        raise InputError(
            f"ckpt_path: {path} is refused, because it holds {kind}, and reading such an object "
            f"can run any code; {plain}"
        ) from None
    except Exception as error:  # torch raises all kinds of errors for other archives
        if weights_only:
            return None
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        text = (
            f"{path} holds an object that cannot be read ({reason}); go to the folder of its module"
        )
        raise InputError(f"ckpt_path: {text}") from None
