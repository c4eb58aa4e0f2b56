"""Messages in the terms of the command line: options instead of arguments and parser internals."""

import re
import textwrap
from collections.abc import Mapping
from inspect import isabstract, signature
from pkgutil import resolve_name

from lightning.pytorch import LightningDataModule, LightningModule

from linreg_lightning.cli.command import active
from linreg_lightning.cli.command_classes import takes_argument
from linreg_lightning.cli.help_text import command_list, unknown_command

BASES: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}
TRAINER = "lightning.pytorch.Trainer"
TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
_NOT_FOUND = "module '.+' has no attribute .+|No module named .+"
QUOTES = (
    ", with quotes around a name that reads as a number or as true or false, such as '[\"1e3\"]'"
)


def add_flags(message: str, classes: Mapping[str, type]) -> str:
    """Turn the arguments that a message begins with into options: `lr: ...` into `--model.lr: ...`.

    A message of another form than `name: text` or `name, name: text` stays as it is, and so does a
    name that several classes have. The keys of `classes` are the prefixes of the options.

    >>> add_flags("width: 0 was given", {"model": textwrap.TextWrapper})
    '--model.width: 0 was given'
    """
    names, colon, text = message.partition(": ")
    flags = []
    for name in names.split(", "):
        keys = [key for key, cls in classes.items() if takes_argument(cls, name)]
        if len(keys) != 1:
            return message
        flags.append(f"--{keys[0]}.{name}")
    return f"{', '.join(flags)}{colon}{text}"


def parse_error_message(error: str, argument: str | None = None) -> str:
    """Return one line for an error of jsonargparse, which describes it in ten; of an argument.

    >>> parse_error_message('''Parser key "data":
    ...   Does not validate against any of the Union subtypes
    ...   Errors:
    ...     - Problem with given class_path 'linreg_lightning.TabularData':
    ...         the following arguments are required: path, target
    ...     - Expected a <class 'NoneType'>''')
    '--data: TabularData needs --data.path, --data.target'
    """
    if found := re.search(r"invalid choice: '(.*?)'", error):
        return unknown_command(found[1])
    if found := re.search(r"(?:argument (\S+): )?expected (?:at least )?one argument", error):
        return f"{found[1] or argument or 'the last option'}: it has no value; type one after it"
    if found := re.match(r"(?:unrecognized arguments|ambiguous option): (.+)", error):
        return _unexpected_word(found[1].split()[0])
    keys = re.findall(r'(?m)(?:^--|Parser key ")([\w.]+)"?:', error)
    key = ".".join(dict.fromkeys(keys))
    match = re.search(r"Problem with given class_path '(?:.+\.)?(\w+)'", error)
    owner = match[1] if match else ""
    types = r"Expected an? (?:<class '(?!NoneType)(.+?)'>|typing\.Literal\[(.*?)\])"
    if found := re.search(r"(?m)Option '(.+?)' is not accepted$", error):
        text = f"{owner or 'the command'} has no option {found[1]}"
        if other := _class_with(found[1], key):
            start = "--data.path FILE" if _needs_path(other, found[1]) else f"--{key} {other}"
            text += f", {other} has; type {start} in front"
        elif owner:
            text += f"; --{key}.help {owner} lists those it has"
    elif found := re.search(r"the following arguments are required: (.+)", error):
        names = found[1].split(", ")
        if not owner:  # the names begin with the subcommand
            flags = ", ".join(f"--{name.partition('.')[2]}" for name in names)
            return f"{flags}: no class was given; type the name of one, such as package.Class"
        text = f"{owner} needs " + ", ".join(f"--{key}.{name}" for name in names)
    elif found := re.search(r"(?:dot import path string|import path format): (.*)", error):
        known = f"one of {active().name} --help, or " if key.split(".")[0] in BASES else ""
        text = f"there is no class {found[1]}; type {known}package.Class"
    elif found := re.search(rf"class_path '(.+)':\s+({_NOT_FOUND})", error):
        text = f"there is no class {found[1]} ({found[2]}); type package.Class"
    elif found := re.search(r"(?:valid|to a) subclass of (\w+)", error):
        text = f"{_given_value(error)} was given; type the name of a class: a {found[1]}"
    elif found := re.search(r"Multiple subclasses with name (\w+)\..+ambiguity: (.+?)\.?$", error):
        text = f"several classes are named {found[1]}; type one of {found[2]}"
    elif found := re.search(r"instantiatable class, but (?:.*\.(\w+) )?is abstract", error):
        name = found[1] or _given_value(error).rpartition(".")[2]
        text = (
            f"{name} is abstract: it lacks methods that its base class asks for; complete it, or "
        )
        text += "type another class"
    elif expected := re.findall(types, error):
        hint = QUOTES if ("str", "") in expected else ""
        text = f"{_given_value(error)} was given; type {_alternatives(expected)}{hint}"
    else:
        text = re.sub(r'\s*Parser key ".+?":\s*', "", error).strip()
        text = textwrap.shorten(text, 1000, placeholder=" [...]")
    return f"--{key}: {text}" if key else text


def missing_metric_message(error: Exception) -> str:
    """Return one line if a callback or a schedule watches a metric that was not logged; else "".

    >>> missing_metric_message(RuntimeError(
    ...     "Early stopping conditioned on metric `val_loss` which is not available. Pass in or "
    ...     "modify your `EarlyStopping` callback to use any of the following: `loss`, `lr`"))
    '--trainer.callbacks: there is no metric val_loss; the metrics are loss, lr; to have \
validation rows, type --data.val_fraction 0.2'
    """
    text = str(error)
    if found := re.search(r"on metric (\S.*) which is not available. Available.*?\[(.*?)\]", text):
        option = "lr_scheduler.monitor"
    elif found := (
        re.search(r"metric `(.+?)` which is not available(.*)", text)
        or re.search(r"monitor='(.+?)'\)` could not find the monitored key.*?\[(.*?)\]", text)
    ):
        option = "trainer.callbacks"
    else:
        return ""
    names = re.findall(r"[`']([^`',]+)[`']", found[2].rpartition(":")[2])
    return f"--{option}: {missing_metric(found[1], names)}"


def same_argument_message(error: Exception) -> str:
    """Return one line if model and data have an argument of the same name; else "".

    >>> same_argument_message(RuntimeError(
    ...     "Error while merging hparams: the keys ['size'] are present in both the ..."))[:61]
    '--model and --data: both have the argument size, of different'
    """
    if not (found := re.search(r"merging hparams: the keys \[(.*?)\] are present", str(error))):
        return ""
    names = found[1].replace("'", "")
    return (
        f"--model and --data: both have the argument {names}, of different values, and loggers "
        "keep one value by name; give both the same value, or rename one of the two"
    )


def missing_metric(name: str, names: list[str]) -> str:
    """Say that there is no metric of a name, and which there are."""
    text = f"the metrics are {', '.join(names)}" if names else "the model has logged none"
    if name.startswith("val") and not any(each.startswith("val") for each in names):
        classes = filter(None, (active().data, active().table))
        has_option = any(takes_argument(resolve_name(each), "val_fraction") for each in classes)
        text += "; to have validation rows, type --data.val_fraction 0.2" if has_option else ""
    return f"there is no metric {name}; {text}"


def _unexpected_word(word: str) -> str:
    if word.startswith("-"):
        options = " or ".join(_with_prefix(word))
        text = f"type {options or f'{active().name} fit --help to list the options'}"
        return f"{word}: there is no such option; {text}"
    return (
        f"{word}: a command takes options only; type an option in front, such as --data.path "
        f"{word}, or another command: {command_list()}"
    )


def _with_prefix(word: str) -> list[str]:
    """Return the options that a word without a prefix may mean: of Trainer, model and data."""
    name, command = word.lstrip("-"), active()
    paths = {"trainer": TRAINER, "model": command.model, "data": command.data}
    argument = name.partition("=")[0]
    keys = [key for key, path in paths.items() if takes_argument(resolve_name(path), argument)]
    return [f"--{key}.{name}" for key in keys]


def _given_value(error: str) -> str:
    value = re.search(r"(?:Got|Given) value: (?!NestedArg\(|Namespace\()(.+)", error)
    return textwrap.shorten(value[1], 100) if value else "this value"


def _alternatives(expected: list[tuple[str, str]]) -> str:
    words: list[str] = []
    for type_name, literals in expected:
        if literals:
            words += literals.replace("'", "").split(", ")
        else:
            words.append(TYPES.get(type_name, f"a {type_name}"))
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _needs_path(class_name: str, option: str) -> bool:
    """Whether the option belongs to the class that `--data.path` chooses."""
    return class_name == active().table.rpartition(".")[2] and option != "path"


def _class_with(option: str, key: str) -> str | None:
    if key not in BASES:
        return None
    # The command's own class goes first.
    classes: list[type] = [resolve_name(getattr(active(), key)), BASES[key]]
    for cls in classes:
        classes += cls.__subclasses__()
        is_own = cls.__module__.partition(".")[0] in active().packages
        if is_own and not isabstract(cls) and option in signature(cls).parameters:
            return cls.__name__
    return None
