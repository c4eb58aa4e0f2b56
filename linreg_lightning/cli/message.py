"""A parser's complaint in the user's words."""

from __future__ import annotations

import re
import textwrap
from inspect import isabstract, signature

from lightning.pytorch import LightningDataModule, LightningModule

NOISE = (
    "Does not validate against any of the Union subtypes",
    "Subtypes: ",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Given value type: ",
    "Given value: NestedArg",
    "Given value: Namespace",
    "Expected a path but ",
)


def condense(message: str) -> str:
    """One line of what jsonargparse spreads over ten: the argument and what is wrong with it.

    >>> condense('''Parser key "data":
    ...   Does not validate against any of the Union subtypes
    ...   Errors:
    ...     - Problem with given class_path 'linreg_lightning.TabularData':
    ...         the following arguments are required: path, target
    ...     - Expected a <class 'NoneType'>''')
    '--data: TabularData needs --data.path, --data.target'
    """
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith(NOISE)]
    key, owner, given = "", "", ""
    parts: list[str] = []
    for line in lines:
        if found := re.fullmatch(r'(?:error: )?Parser key "(.+)":(.*)', line):
            key = f"{key}.{found[1]}" if key else found[1]
            line = found[2].strip()
        elif found := re.fullmatch(r"Problem with given class_path '(.+)':(.*)", line):
            owner = found[1].rpartition(".")[2]
            line = found[2].strip()
        if found := re.fullmatch(r"Option '(.+)' is not accepted", line):
            line = f"{owner} has no option {found[1]}"
            other = _class_with(found[1], key)
            line += (
                f", {other} has; type --{key} {other} in front"
                if other
                else f"; --{key}.help {owner} lists those it has"
            )
        elif found := re.fullmatch(r"the following arguments are required: (.+)", line):
            missing = ", ".join(f"--{key}.{name}" for name in found[1].split(", "))
            line = f"{owner} needs {missing}"
        elif found := re.fullmatch(r"Expected a dot import path string: (.*)", line):
            line = f"there is no class {found[1]}; type one of linreg --help, or package.Class"
        elif found := re.fullmatch(r"Expected an? <class '(.+?)'>\.?(?: Got value: (.*))?", line):
            line = f"{found[2]} was given; type " if found[2] else "type "
            line += {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(
                found[1], f"a {found[1]}"
            )
        elif found := re.fullmatch(r"Given value: (.*)", line):
            given, line = textwrap.shorten(found[1], 100), ""
        if line and line not in parts:
            parts.append(line)
    text = "; ".join(parts)
    if given not in text:
        text = f"{given} was given; {text}"
    return f"--{key}: {text}" if key else text


def _class_with(option: str, key: str) -> str | None:
    """The package's own model or data module that has the option."""
    bases: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}
    classes = [bases[key]] if key in bases else []
    for each in classes:
        classes += each.__subclasses__()
        own = each.__module__.partition(".")[0] == __name__.partition(".")[0]
        if own and not isabstract(each) and option in signature(each).parameters:
            return each.__name__
    return None
