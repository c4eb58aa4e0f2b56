"""A parser's complaint in the user's words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
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
    "Subclass types expect one of",
    "a class path (str)",
    "a dict with",
)
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_MOST = 1000
"""Characters of a message: what was given may be a whole file."""


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
    said: list[str] = []
    wanted: list[str] = []
    for line in lines:
        if found := re.fullmatch(r'(?:error: )?Parser key "(.+)":(.*)', line):
            key = f"{key}.{found[1]}" if key else found[1]
            line = found[2].strip()
        elif found := re.fullmatch(r"--(\S+): (Expected .*)", line):
            key, line = found[1], found[2]
        elif found := re.fullmatch(r"Problem with given class_path '(.+)':(.*)", line):
            owner = found[1].rpartition(".")[2]
            line = found[2].strip()
        if found := re.fullmatch(r"Given value: (.*)", line):
            given = found[1]
        elif found := re.fullmatch(
            r"Expected an? (?:<class '(.+?)'>|typing\.Literal\[(.*)\])\.?(?: Got value: (.*))?",
            line,
        ):
            kind, choices, value = found.groups()
            given = value or given
            wanted += [_KINDS.get(kind, f"a {kind}")] if kind else _choices(choices)
        elif line:
            said.append(_said(line, key, owner))
    given = textwrap.shorten(given, 100)
    # What else would have been taken there is of no help beside what is wrong.
    said = said or (["type " + _listed(wanted)] if wanted else [])
    text = "; ".join(dict.fromkeys(said))
    if given not in text:
        text = f"{given} was given; {text}"
    text = text if len(text) <= _MOST else f"{text[:_MOST]} [...]"
    return f"--{key}: {text}" if key else text


def _said(line: str, key: str, owner: str) -> str:
    """A line in other words, where there are some."""
    for pattern, words in _WORDS.items():
        if found := re.fullmatch(pattern, line):
            return words(found[1], key, owner)
    return line


def _no_option(option: str, key: str, owner: str) -> str:
    other = _class_with(option, key)
    if other:
        return f"{owner} has no option {option}, {other} has; type --{key} {other} in front"
    return f"{owner} has no option {option}; --{key}.help {owner} lists those it has"


def _no_class(name: str, key: str, _: str) -> str:
    known = ""
    if key.split(".")[0] in _BASES:
        known = "one of linreg --help, or "
    return f"there is no class {name}; type {known}package.Class"


def _no_subclass(base: str, *_: str) -> str:
    return f"type the name of a class: a {base}"


def _required(names: str, key: str, owner: str) -> str:
    if not owner:  # the names begin with the subcommand's
        return f"--{names.partition('.')[2]}: null was given; type the name of a class"
    return f"{owner} needs " + ", ".join(f"--{key}.{name}" for name in names.split(", "))


_WORDS: dict[str, Callable[[str, str, str], str]] = {
    r"Option '(.+)' is not accepted": _no_option,
    r"the following arguments are required: (.+)": _required,
    r"(?:Expected a dot import path string|Unexpected import path format): (.*)": _no_class,
    r"Not a valid subclass of (.*)": _no_subclass,
}
_BASES: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}


def _class_with(option: str, key: str) -> str | None:
    """The package's own model or data module that has the option."""
    classes = [_BASES[key]] if key in _BASES else []
    for each in classes:
        classes += each.__subclasses__()
        own = each.__module__.partition(".")[0] == __name__.partition(".")[0]
        if own and not isabstract(each) and option in signature(each).parameters:
            return each.__name__
    return None


def _choices(text: str) -> list[str]:
    return [choice.strip("'\"") for choice in text.split(", ")]


def _listed(choices: list[str]) -> str:
    *first, last = dict.fromkeys(choices)
    return f"{', '.join(first)} or {last}" if first else last
