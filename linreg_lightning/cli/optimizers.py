"""`--optimizer` and `--lr_scheduler`: options, the learning rate, and what checkpoints keep."""

from __future__ import annotations

import json
from inspect import signature
from pkgutil import resolve_name
from types import MethodType
from typing import Any, final

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LRSchedulerTypeTuple, instantiate_class
from lightning.pytorch.loggers import TensorBoardLogger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from linreg_lightning.cli.checkpoint_info import (
    CHANGE_REMEDY,
    OPTIMIZER_KEY,
    REMEDY,
    CheckpointInfo,
)
from linreg_lightning.cli.command import active
from linreg_lightning.cli.resumed_fit import CHANGE_HELP, Changes, ResumedFit, check_weights
from linreg_lightning.errors import InputError
from linreg_lightning.models.supervised import SupervisedModule

Settings = dict[str, Any]
"""A class and its arguments: `{"class_path": ..., "init_args": {...}}`, plain values only."""


def add_optimizer_options(
    parser: LightningArgumentParser, checkpoint: CheckpointInfo | None
) -> None:
    """Add `--optimizer` and `--lr_scheduler`, whose defaults are the checkpoint's; `--change`."""
    parser.add_argument("--change", action="store_true", help=CHANGE_HELP)
    parser.add_optimizer_args((Optimizer,))
    parser.add_lr_scheduler_args(LRSchedulerTypeTuple)
    if checkpoint is not None:
        stored = _stored(checkpoint)
        parser.set_defaults({key: value for key, value in stored.items() if value})


def check_optimizer(
    parser: LightningArgumentParser,
    args: list[str],
    options: Any,
    checkpoint: CheckpointInfo | None,
) -> None:
    """Make `lr` an option of the model alone, and refuse contradictions.

    The `lr` of an optimizer becomes that of the model, if the model has one, so that checkpoint,
    HPARAMS and messages name it once. The momentum that is a default for tables belongs to the
    model's SGD, and is set to 0. A resumed run keeps its optimizer and schedule, because their
    states are in the checkpoint, unless `--change` is given.
    """
    if checkpoint is None and "--change" in args:
        raise InputError(
            "--change: it was given without a checkpoint to resume; leave it out, or type "
            "--ckpt_path last too"
        )
    if options.optimizer is not None:
        _move_lr_to_model(parser, args, options, checkpoint is not None)
    if checkpoint is None or options.change:
        return
    for key, (stored, given) in _changes(checkpoint, options).items():
        names = [each["class_path"] if each else "none" for each in (given, stored)]
        if given and stored and names[0] == names[1]:
            names = [str(each["init_args"]) for each in (given, stored)]
        raise InputError(
            f"--{key}: {names[0]} was given, but {checkpoint.path} was made with {names[1]}; leave "
            f"it out{REMEDY}{CHANGE_REMEDY}"
        )


def settings_of(options: Any) -> dict[str, Settings | None]:
    """Return the optimizer and the schedule that the options name, as plain values."""
    values = {key: options.get(key) for key in ("optimizer", "lr_scheduler")}
    return {key: None if value is None else value.as_dict() for key, value in values.items()}


def use_optimizer(
    model: LightningModule, options: Any, checkpoint: CheckpointInfo | None
) -> list[Callback]:
    """Give the model the optimizer and schedule of the options, if any; return callbacks."""
    changes: Changes = {}
    if checkpoint is not None and options.change:
        model_changes = checkpoint.model_changes(options.model.as_dict())
        changes = {f"model.{name}": values for name, values in model_changes.items()}
        changes |= _changes(checkpoint, options)
        check_weights(model, checkpoint, changes)
    return [*_choose_optimizer(model, options), ResumedFit(checkpoint, changes)]


def _choose_optimizer(model: LightningModule, options: Any) -> list[Callback]:
    settings = settings_of(options)
    optimizer, scheduler = settings["optimizer"], settings["lr_scheduler"]
    if optimizer is None and scheduler is None:
        return []
    name = type(model).__name__
    key = "optimizer" if optimizer else "lr_scheduler"
    if isinstance(model, SupervisedModule) and not model.automatic_optimization:
        raise InputError(
            f"--{key}: {name} was given, which has no use for one; leave --{key} out, or type "
            "--model LinearRegression"
        )
    for argument in ("momentum", "weight_decay") if optimizer else ():
        if isinstance(model, SupervisedModule) and model.hparams.get(argument):
            raise InputError(
                f"--model.{argument}: {model.hparams[argument]} was given, but --optimizer takes "
                f"the place of the model's SGD; type --model.{argument} 0 and, if the optimizer "
                f"has it, --optimizer.{argument}"
            )
    model_optimizers = model.configure_optimizers
    lr = options.model.get("init_args", {}).get("lr")

    def configure_optimizers(module: LightningModule) -> Any:
        chosen: Any = (
            model_optimizers() if optimizer is None else _make(optimizer, module.parameters(), lr)
        )
        if scheduler is None:
            return chosen
        if not isinstance(chosen, Optimizer):
            raise InputError(
                f"--lr_scheduler: {name} has a schedule, or several optimizers, of its own; leave "
                "--lr_scheduler out, or give --optimizer too"
            )
        schedule = _make(scheduler, chosen, None)
        monitor = getattr(schedule, "monitor", None)
        config = {"scheduler": schedule} | ({"monitor": monitor} if monitor else {})
        return {"optimizer": chosen, "lr_scheduler": config}

    vars(model)["configure_optimizers"] = MethodType(configure_optimizers, model)
    return [OptimizerRecord(settings)]


@final
class OptimizerRecord(Callback):
    """Keeps the settings of optimizer and schedule in checkpoints, and their names in loggers."""

    def __init__(self, settings: dict[str, Settings | None]) -> None:
        self._settings = settings
        self._names = {
            key: value["class_path"].rpartition(".")[2] for key, value in settings.items() if value
        }

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and isinstance(logger.hparams, dict):
                logger.hparams.update(self._names)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self._names)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[OPTIMIZER_KEY] = self._settings


def _stored(checkpoint: CheckpointInfo) -> dict[str, Settings | None]:
    stored = checkpoint.content.get(OPTIMIZER_KEY, {})
    return {key: stored.get(key) for key in ("optimizer", "lr_scheduler")}


def _changes(checkpoint: CheckpointInfo, options: Any) -> Changes:
    given, stored = settings_of(options), _stored(checkpoint)
    return {key: (stored[key], given[key]) for key in stored if stored[key] != given[key]}


def _move_lr_to_model(
    parser: LightningArgumentParser, args: list[str], options: Any, resumes: bool
) -> None:
    """Move a typed `lr` of the optimizer to the model; set a momentum that was not typed to 0."""
    arguments = options.model.get("init_args", {})
    is_own = resolve_name(options.model.class_path) is resolve_name(active().model) and not resumes
    has_rate = "lr" in arguments and "lr" in options.optimizer.init_args
    if not (is_own or has_rate):
        return
    place = args.index("fit") + 1
    # As plain values: an argument may be a set, or of a class of one's own.
    given = Namespace(subcommand="fit", fit=options)  # type: ignore[no-untyped-call]
    plain = yaml.safe_load(parser.dump(given, skip_none=False, skip_validation=True))["fit"]
    model, data, scheduler = plain["model"], plain["data"], plain["lr_scheduler"]
    own = {k: v for k, v in model.get("init_args", {}).items() if k not in ("lr", "momentum")}
    classes = ["--model", json.dumps(model | {"init_args": own}), "--data", json.dumps(data)]
    classes += ["--lr_scheduler", json.dumps(scheduler)] if scheduler else []
    # Without defaults, the parser returns what was typed. It requires the classes, and their
    # arguments without default, which a resumed run has from the checkpoint.
    typed = parser.parse_args([*args[:place], *classes, *args[place:]], defaults=False).fit
    if is_own and "momentum" in arguments:
        arguments.momentum = typed.get("model.init_args.momentum", 0.0)
    if not has_rate:
        return
    rate = typed.get("optimizer.init_args.lr")
    model_rate = typed.get("model.init_args.lr")
    if rate is not None:
        # The rate of a file of settings gives way to that on the command line.
        words = {word.partition("=")[0].replace(".init_args.", ".") for word in args}
        is_typed_alone = "--optimizer.lr" in words and "--model.lr" not in words
        if model_rate not in (None, rate) and not is_typed_alone:
            raise InputError(
                f"--optimizer.lr: {rate:g} was given, and --model.lr {model_rate:g}; leave one out"
            )
        arguments.lr = rate
    del options.optimizer.init_args["lr"]


def _make(settings: Settings, first: Any, lr: float | None) -> Optimizer | LRScheduler:
    arguments = dict(settings["init_args"])
    takes_lr = "lr" in signature(resolve_name(settings["class_path"])).parameters
    if lr is not None and takes_lr:
        arguments["lr"] = lr
    try:
        made: Any = instantiate_class((first,), {**settings, "init_args": arguments})
    except (TypeError, ValueError) as error:
        name = settings["class_path"].rpartition(".")[2]
        key = "optimizer" if lr is not None or takes_lr else "lr_scheduler"
        raise InputError(f"--{key}: {name}: {error}; type other values") from error
    return made  # type: ignore[no-any-return]
