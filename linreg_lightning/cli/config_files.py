"""Files of settings: where they are, and how they and the values of options are read."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, get_loader, set_loader  # type: ignore[attr-defined]

from linreg_lightning.errors import InputError

PACKAGE = Path(__file__).parent.parent
PARSER_MODE = "linreg"


def find_config(name: str) -> str:
    """Return the path of a configuration: a file, or one that the package brings, by its name."""
    folder = PACKAGE / "configs"  # in a wheel
    folder = folder if folder.is_dir() else PACKAGE.parent / "configs"
    if is_file(name) or not re.fullmatch(r"[\w-]+", name):
        return name  # the parser reports a missing file
    for file in (Path(f"{name}.yaml"), folder / f"{name}.yaml"):
        if file.is_file():
            return str(file)
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise InputError(f"--config: there is no file {name}; type a file, or one of {known}")


def load_value(text: str, path: str = "") -> Any:
    """Read YAML, but take a line such as `#w` or `a: b` as text: columns have such names.

    >>> load_value("#w"), load_value("a: b"), load_value("[a, b]"), load_value("a: b", "run.yaml")
    ('#w', 'a: b', ['a', 'b'], {'a': 'b'})
    """
    value = get_loader("yaml")(text)
    is_option = not path and "\n" not in text and not text.startswith(("[", "{"))
    return text if is_option and not isinstance(value, int | float) else value


set_loader(PARSER_MODE, load_value, (yaml.YAMLError,))


class ConfigByName(ActionConfigFile):
    """The action of `-c`: a file, or a configuration that the package brings, by its name."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        """Apply the configuration."""
        super().__call__(parser, cfg, find_config(values))  # type: ignore[no-untyped-call]


def read_yaml(file: Path) -> dict[Any, Any]:
    """Return a file's settings; none of a file that the parser will refuse later."""
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}


def is_file(text: str) -> bool:
    """Whether a text, however long, names a file."""
    with contextlib.suppress(OSError, ValueError):  # too long for a file's name
        return Path(text).is_file()
    return False
