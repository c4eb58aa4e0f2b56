"""pyarrow, its submodules too, imported when something of it is first used.

Files are read and written by it. A run without any would wait for it, and for the pandas that it
imports, a tenth of the time that the run takes.

>>> from linreg_lightning import arrow as pyarrow
>>> pyarrow.types.is_string(pyarrow.string())
True
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):  # which Python itself looks for
        pyarrow = import_module("pyarrow")
        if hasattr(pyarrow, name):
            return getattr(pyarrow, name)
        with suppress(ModuleNotFoundError):
            return import_module(f"pyarrow.{name}")
    raise AttributeError(f"pyarrow has no attribute {name!r}")
