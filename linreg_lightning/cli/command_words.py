"""Puts the words of a command line into the order and form in which the parser reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from linreg_lightning.cli.command import TRAINER_COMMANDS
from linreg_lightning.errors import InputError

_TAKES_LIST = re.compile(r"--(data\.(init_args\.)?\w+|keep)\+?")
# Of other lists, such as the weights of SyntheticData, each word may be a number.
_LISTS_OF_TEXT = {
    *("path", "val_path", "test_path", "target", "features", "exclude", "categorical"),
    *("na_values", "keep", "cluster", "absorb"),
}

# Options without a value.
_FLAGS = {"change", "trust"}


def command_of(args: Sequence[str]) -> str | None:
    """Return the subcommand of a command line, if it is one of Lightning's."""
    return next((word for word in args if word in TRAINER_COMMANDS), None)


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Return options and their values, given by name, as words of a command line.

    >>> option_words({"model.lr": 0.1, "data.path": ["a.csv"], "figures": False, "trust": True})
    ['--model.lr=0.1', '--data.path=["a.csv"]', '--figures=false', '--trust']

    Raises:
        InputError: a name has its dashes.
    """
    if not isinstance(options, Mapping):
        kind = type(options).__name__
        raise InputError(f'options: a {kind} was given; give a dict, such as {{"model.lr": 0.1}}')
    words = []
    for name, value in options.items():
        if name.startswith("-"):
            text = f"options: {name} was given; give the long name without its dashes"
            raise InputError(f"{text}, such as model.lr or config")
        if name in _FLAGS:
            words += [f"--{name}"] if value else []
        elif isinstance(value, bool | None | list | tuple | dict):
            text = json.dumps(value, ensure_ascii=False, default=_plain)
            words.append(f"--{name}={text}")
        else:
            words.append(f"--{name}={value}")
    return words


def _plain(value: Any) -> Any:
    """Return a number or array of NumPy or torch as numbers, and a path as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def arrange(args: Sequence[str], sectioned: Sequence[str] = ()) -> list[str]:
    """Return a command line with its files of settings first, and several values as a list.

    The parser lets the later of two words win. With the files first, an option wins over them
    wherever it stands. Words after an option of the data are a list, such as the names of the files
    that a shell puts in the place of an unquoted pattern.

    Args:
        args: the command line.
        sectioned: the files that have a section for each subcommand: the parser reads those
            before the subcommand only.

    >>> arrange(["fit", "--model.lr", "1", "--data.path", "a.csv", "b.csv", "-c", "my.yaml"])
    ['fit', '-c', 'my.yaml', '--model.lr', '1', '--data.path=["a.csv", "b.csv"]']
    """
    command = command_of(args)
    if command is None:
        return list(args)
    place = list(args).index(command)
    configs, first = _without_configs(args[:place])
    later_configs, rest = _without_configs(args[place + 1 :])
    before = [name for name in configs if name in sectioned]
    after = [name for name in configs if name not in sectioned] + later_configs
    return [*first, *_options(before), command, *_options(after), *_join_values(rest)]


def _options(configs: Sequence[str]) -> list[str]:
    return [word for name in configs for word in ("-c", name)]


def _without_configs(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the values of all options `-c`, and the other words."""
    configs: list[str] = []
    others: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in ("-c", "--config"):
            name = next(remaining, None)
            if name is None:
                others.append(word)  # the parser reports that the value is missing
            else:
                configs.append(name)
        elif found := re.fullmatch(r"(?:--config=|-c=?)(.+)", word, re.DOTALL):
            configs.append(found[1])
        else:
            others.append(word)
    return configs, others


def _join_values(words: Sequence[str]) -> list[str]:
    """Make one word of several values of an option that takes a list."""
    joined: list[str] = []
    place = 0
    while place < len(words):
        option = words[place]
        place += 1
        values = []
        while place < len(words) and not words[place].startswith("-"):
            values.append(words[place])
            place += 1
        name, equals, value = option.partition("=")
        given = [value, *values] if equals else values
        if len(given) > 1 and _TAKES_LIST.fullmatch(name):
            joined.append(f"{name}={_list(name, given)}")
        else:
            joined += [option, *values]
    return joined


def _list(option: str, values: Sequence[str]) -> str:
    if values[0].startswith("[") and values[-1].endswith("]"):
        return " ".join(values)  # a list with spaces that was not quoted
    if re.split(r"[.-]", option.rstrip("+"))[-1] in _LISTS_OF_TEXT:
        return json.dumps(values, ensure_ascii=False)
    return f"[{', '.join(values)}]"
