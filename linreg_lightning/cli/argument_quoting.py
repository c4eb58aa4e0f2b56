"""What is typed for an option, where the parser would take it for YAML."""

from __future__ import annotations

import json

import yaml

from linreg_lightning.data.tabular import NAMES
from linreg_lightning.errors import InputError

_NAMES = frozenset(f"--data.{name}" for name in NAMES)
_SINGLE = "--data.weight"


def with_names(words: list[str]) -> list[str]:
    """The words of a command line, with names in lists of one where YAML sees more than a name.

    Raises:
        InputError: there is no list for the option.

    >>> with_names(["--data.path", "#1.csv", "--data.target=@", "--data.features", "[a, b]"])
    ['--data.path', '["#1.csv"]', '--data.target=["@"]', '--data.features', '[a, b]']
    """
    named: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option, start, value = before, "", word
        if before not in _NAMES and "=" in word:
            option, _, value = word.partition("=")
            start = f"{option}="
        name = _name(value) if option in _NAMES else value
        if option == _SINGLE and name != value:
            raise InputError(
                f"weight: {value!r} is more than a name to YAML; rename the column, or name it in "
                "quotes in a file: data: and, indented below it, weight:, and type -c FILE"
            )
        named.append(start + name)
    return named


def _name(text: str) -> str:
    if text == "null" or text.startswith(("[", "'", '"')):
        return text
    try:
        seen = yaml.safe_load(text)
    except yaml.YAMLError:
        seen = None
    # Of numbers, truths and dates the parser keeps the text where it wants a name.
    more = seen is None or isinstance(seen, dict) or (isinstance(seen, str) and seen != text)
    return json.dumps([text], ensure_ascii=False) if more else text
