"""The texts of a command's help, and the names that it lists; imports as little as `command`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from linreg_lightning.cli.command import TRAINER_COMMANDS, Command, active
from linreg_lightning.cli.named_configs import named_configs

_WIDTH = 100
_PURPOSES = {
    "fit": "fit the model, and print how well it fits",
    "validate": "measure a fitted model on the validation rows",
    "test": "measure a fitted model on the test rows",
    "predict": "write a fitted model's predictions to a file, beside columns kept (--keep id)",
}
_EXAMPLES = ("fit", "test --ckpt_path last", "predict --ckpt_path last")


def command_list() -> str:
    """Return the names of all commands as part of a sentence.

    >>> command_list()[:19]
    'fit, validate, test'
    """
    return _join((*TRAINER_COMMANDS, *active().commands))


def description(name: str) -> str:
    """Return what a command does, and how to find the other commands.

    >>> description("validate")[:53]
    'Measure a fitted model on the validation rows. Other '
    """
    command, text = active(), _purpose(active(), name)
    others = f"{command.name} {command_list()}; {command.name} --help explains them."
    return f"{text[:1].upper()}{text[1:]}. Other commands: {others}"


def unknown_command(name: str) -> str:
    """Return the message for a word that is no command."""
    return f"{name}: there is no such command; type {command_list()}"


def version(command: Command) -> str:
    """Return the command's version, or that of the installed distribution of its name."""
    if command.version:
        return command.version
    from importlib import metadata

    try:
        return metadata.version(command.name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def help_text(command: Command) -> str:
    """Return what `--help` prints."""
    names = (*TRAINER_COMMANDS, *command.commands)
    purposes = [f"  {name:<10} {_purpose(command, name)}" for name in names]
    examples = [f"{command.name} {words}" for words in command.examples or _EXAMPLES]
    return "\n".join(
        [
            f"usage: {command.name} [--help] [--version] {{{','.join(names)}}} ...",
            "",
            *textwrap.wrap(command.about, _WIDTH),
            "",
            *purposes,
            "",
            "Start here:",
            "",
            *(f"  {line}" for line in examples),
            "  tensorboard --logdir logs",
            "",
            "More:",
            "",
            *_more(command),
            "",
            *_classes(command),
            "",
            *textwrap.wrap(_trust(command), _WIDTH),
            *textwrap.wrap(_OBJECTS, _WIDTH),
            "",
        ]
    )


def _purpose(command: Command, name: str) -> str:
    return command.purposes.get(name) or _PURPOSES.get(name, name)


def _more(command: Command) -> list[str]:
    """Return the lines of options, each command line before what it does."""
    name, model = command.name, _short(command.model)
    entries = [
        ("fit --help", "every option of a command"),
        (f"fit --model.help {model}", "the options of a model; --data.help of a data module"),
        ("fit --print_config", "all settings as YAML, to keep and give by -c FILE"),
        (
            "fit -c NAME",
            "settings of a file, of a run (-c logs/version_0 repeats it), or of this command under "
            f"that name: {', '.join(sorted(named_configs(command)))}",
        ),
        (
            "fit --ckpt_path last --trainer.max_epochs 200",
            "go on with the newest run below the logs folder; with --change --model.lr 0.01 at a "
            "new learning rate",
        ),
        (
            "fit --trainer.callbacks+=TightLoop --trainer.callbacks.steps=1",
            "let the Trainer take each step by itself, slower",
        ),
        (
            "fit --trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=300",
            "count a process as lost, and end the others, after 300 seconds without a sign of life "
            "instead of 60",
        ),
    ]
    completion = (
        "--print_completion shtab-bash",
        "a script by which the tab key completes options in bash, zsh or tcsh (pip install shtab "
        "first)",
    )
    lines = [(f"{name} {words}", text) for words, text in (*entries, completion)]
    column = max(len(words) for words, _ in lines if len(words) <= len(name) + 40)
    return [line for words, text in lines for line in _beside(words, text, column)]


def _beside(words: str, text: str, column: int) -> list[str]:
    """Return a command line and, to the right of it or below, the text that explains it."""
    indent = " " * (column + 3)
    lines = textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(words) > column:
        return [f"  {words}", *lines]
    return [f"  {words:<{column}} {lines[0].lstrip()}", *lines[1:]]


def _classes(command: Command) -> list[str]:
    models = [*map(_short, (command.model, *command.models)), "or your own (package.MyModel)"]
    data = [_short(command.data), *([_short(command.table)] if command.table else [])]
    lines = textwrap.wrap(f"Models: {', '.join(models)}.", 100, subsequent_indent="  ")
    return [*lines, f"Data: {', '.join(data)}, or your own."]


def _trust(command: Command) -> str:
    own = sorted(command.packages - {"linreg_lightning"})
    known = (*(own or ["this package"]), *(["linreg_lightning"] if own else []), "lightning")
    return (
        "Trust: opening a checkpoint or a file of settings imports the module of each class that "
        "it names, which runs its code. A checkpoint may name classes of "
        f"{', '.join(known)} and torch, and of modules that you name (--model mine.Net). In the "
        "folder that its run wrote to, it may name the model and data of that run. --trust allows "
        "all. Use only settings that you trust."
    )


_OBJECTS = (
    "A checkpoint with other objects than numbers, texts, lists and tensors is refused, because "
    "reading it can run any code; --weights_only false reads one that you trust, and allows all "
    "its classes."
)


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _join(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
