"""The `linreg` command: its defaults, and what it makes of a checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import warnings
from inspect import signature
from pkgutil import resolve_name
from typing import Any, final

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only

import linreg_lightning.data  # noqa: F401  # a class is found by its short name once it is imported
from linreg_lightning.callbacks.prediction_writer import PredictionWriter
from linreg_lightning.cli.argument_quoting import with_names
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.default_callbacks import default_callbacks
from linreg_lightning.cli.defaults import DATA, MODEL
from linreg_lightning.cli.first_parse import FirstParse
from linreg_lightning.cli.help_words import reworded
from linreg_lightning.cli.sigterm import ended_by_sigterm
from linreg_lightning.errors import InputError
from linreg_lightning.logger import RunLogger
from linreg_lightning.models.supervised import SupervisedModule
from linreg_lightning.tables.prediction_file import Format

ROOT = "logs"
_NEED_A_CHECKPOINT = frozenset({"validate", "test", "predict"})


@final
class RegressionCLI(LightningCLI):
    """A LightningCLI over any model and data module, with defaults for both.

    It differs from Lightning's where that would go on silently with something else than was asked
    for: with a checkpoint, its classes and hyper-parameters are the defaults, and a flag that
    contradicts the model's is an error; without one, nothing but `fit` runs.
    """

    def __init__(self, args: list[str]) -> None:
        self._words = args
        self._preview = FirstParse.of(args, ROOT)
        ckpt_path, root = self._preview.ckpt_path, self._preview.root
        self._stored = None if ckpt_path is None else CheckpointInfo.read(ckpt_path, root)
        self._predictions = PredictionWriter()
        # The Trainer by itself heeds SIGTERM in fits, where it ends behind a step.
        fits = self._preview.command == "fit"
        with contextlib.nullcontext() if fits else ended_by_sigterm():
            super().__init__(
                save_config_kwargs={"overwrite": True},  # each run has a folder of its own
                trainer_defaults={
                    "default_root_dir": ROOT,
                    "max_epochs": 100,
                    "enable_model_summary": False,
                    "callbacks": [self._predictions],
                },
                seed_everything_default=0,
                auto_configure_optimizers=False,
                # Errors come as exceptions, for `condense` to shorten, instead of pages of usage.
                parser_kwargs={
                    "exit_on_error": False,
                    **{name: {"exit_on_error": False} for name in self.subcommands()},
                },
                args=with_names(args),
            )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's four, or just the one that is asked for: a parser takes 30 ms to make.

        Lightning calls it on the instance, though it declares it static.
        """
        commands = LightningCLI.subcommands()
        commands["predict"].add("return_predictions")  # PredictionWriter has them
        asked = self._preview.command
        return {asked: commands[asked]} if asked in commands else commands

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Make the application's model and data the default, or what a checkpoint was made of.

        Not where another class is named: the parser would hand the default class's arguments on to
        it, as far as they have the same names.
        """
        if self._preview.command == "fit":
            text = "Whether to draw pictures of the fit, for TensorBoard and as PNG files."
            parser.add_argument("--figures", type=bool, default=True, help=text)
        if self._preview.command == "predict":
            text = "Whether to write standard errors and intervals too, of a model that has them."
            parser.add_argument("--intervals", type=bool, default=False, help=text)
            text = "Columns of the input to write beside the predictions: a name, or [a, b]."
            parser.add_argument("--keep", type=str | list[str], default=[], help=text)
            text = "Of the file that is written."
            parser.add_argument("--format", type=Format, default="csv", help=text)
        defaults: dict[str, dict[str, Any] | None] = {
            "model": {"class_path": MODEL},
            "data": {"class_path": DATA},
        }
        if self._stored is not None:
            defaults = {"model": self._stored.model, "data": self._stored.data}
            if self._preview.command == "fit":
                parser.set_defaults(self._stored.settings)
        for key, default in defaults.items():
            named = self._preview.classes.get(key)
            if default and (named is None or _short(named) == _short(default["class_path"])):
                parser.set_defaults({key: default})

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        """Have the help say what is so here."""
        return reworded(super()._prepare_subcommand_parser(klass, subcommand, **kwargs))

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse what contradicts a checkpoint, and anything but a fit without one."""
        for key in ("model", "data") if self._stored is not None else ():
            if getattr(self._stored, key) is None and key not in self._preview.classes:
                raise InputError(
                    f"--{key}: the checkpoint does not say which class it was made with; "
                    f"type --{key} package.Class"
                )
        try:
            super().parse_arguments(parser, args)
        except argparse.ArgumentError:
            if self._stored is None and self._preview.command in _NEED_A_CHECKPOINT:
                # Without it the line was read with other defaults than its author means.
                raise self._no_checkpoint() from None
            raise
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise InputError(f"--seed_everything: {seed} was given; type 0 to {2**32 - 1}")
        config = self.config[self.config.subcommand]
        if self._stored is not None:
            config.ckpt_path = str(self._stored.path)
            self._stored.check_model(_plain(config.model))
            self._stored.check_data(_plain(config.data), fitting=self.config.subcommand == "fit")
        elif config.ckpt_path is not None or self.config.subcommand in _NEED_A_CHECKPOINT:
            raise self._no_checkpoint()

    def _no_checkpoint(self) -> InputError:
        return InputError(
            f"--ckpt_path: none was given, and {self._preview.command} needs a fitted model; "
            "type --ckpt_path last for the newest, or a checkpoint's path"
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning's own reading of the checkpoint, which overrides flags; ours has been done."""

    def before_instantiate_classes(self) -> None:
        """Refuse null where a class does without, and a shape that the data decide."""
        model, data = (_plain(self._get(self.config, key)) for key in ("model", "data"))
        if not data:
            raise InputError("--data: null was given; type the name of a class")
        for key, given in (("model", model), ("data", data)):
            _check_null(key, given)
        if not hasattr(resolve_name(data["class_path"]), "feature_names"):
            return
        stored = {} if self._stored is None or not self._stored.model else self._stored.model
        for name in ("in_features", "out_features"):
            value = model.get("init_args", {}).get(name)
            if (
                value is not None
                and value != stored.get("init_args", {}).get(name)
                and issubclass(resolve_name(model["class_path"]), SupervisedModule)
            ):
                raise InputError(
                    f"--model.{name}: {value} was given, but the data decide it; leave it out"
                )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what only the run's own settings decide: logger, log interval, accelerator."""
        config = self._get(self.config_init, "trainer")
        if config.logger in (None, True) and not config.barebones:
            kwargs["logger"] = RunLogger(config.default_root_dir or ROOT)
        if config.log_every_n_steps is None and not config.barebones:
            # Lightning complains of its own interval before ours is set.
            warnings.filterwarnings("ignore", "The number of training batches .* is smaller than")
        if config.accelerator == "auto" and MPSAccelerator.is_available():
            kwargs["accelerator"] = "cpu"  # Apple's GPU has no float64
        figures = self._preview.command == "fit" and self._get(self.config, "figures")
        callbacks = default_callbacks(config, self._words, figures)
        try:
            trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (TypeError, ValueError) as error:
            raise InputError(f"--trainer: {error}") from error
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            raise InputError(
                f"--trainer.strategy: {config.strategy} was given, whose processes keep to "
                "themselves what they have fitted; type ddp"
            )
        return trainer

    def before_fit(self) -> None:
        """Refuse to go on from a checkpoint that has no epoch left to run."""
        if getattr(self.model, "one_pass", False):
            self._refuse_the_same_rows()
            return
        most = self.trainer.max_epochs
        if self._stored is not None and most is not None and 0 <= most <= self._stored.epochs:
            raise InputError(
                f"--trainer.max_epochs: it is {most}, and {self._stored.path} has run "
                f"{self._stored.epochs} epochs already; type a larger number"
            )

    def _refuse_the_same_rows(self) -> None:
        data = _plain(self._get(self.config, "data"))
        if self._stored is not None and self._stored.has_rows_of(data):
            raise InputError(
                f"--data: {self._stored.path} holds the statistics of these rows already, or of "
                "some of them, and a fit would add them once more; name new rows, such as "
                "--data.path NEW.csv"
            )

    def after_fit(self) -> None:
        """Show the answer, and where it lies.

        Raises:
            InputError: no batch was trained on, so there is none.
        """
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if batches == (0 if self._stored is None else self._stored.batches):
            raise InputError(
                "--trainer: no batch was trained on, so nothing has been fitted; raise "
                "max_epochs, max_steps, max_time or limit_train_batches, whichever is in force"
            )
        if isinstance(self.model, SupervisedModule):
            _tell(f"\n{self.model.summary()}\n")
        run = self.trainer.logger
        if isinstance(run, RunLogger):
            curves = f"tensorboard --logdir {shlex.quote(run.save_dir)}"
            self._tell_files({"run": run.log_dir}, {"curves": curves})
        else:
            self._tell_files({}, {})

    def predict(self, **kwargs: Any) -> None:
        """Predict without keeping the predictions in memory: PredictionWriter has them."""
        keep = self._get(self.config, "keep")
        self._predictions.keep = [keep] if isinstance(keep, str) else list(keep)
        self._predictions.intervals = self._get(self.config, "intervals")
        self._predictions.format = self._get(self.config, "format")
        self.trainer.predict(return_predictions=False, **kwargs)

    def after_predict(self) -> None:
        """Show where the predictions lie.

        Raises:
            InputError: none were written.
        """
        if self._predictions.path is None:
            raise InputError(
                "predict: nothing was written; the model must predict a tensor of (rows,) or "
                "(rows, targets), and the data must have rows to predict"
            )
        self._tell_files({}, {})

    def _tell_files(self, before: dict[str, str], after: dict[str, str]) -> None:
        """Show where things lie: what the run's callbacks have written, between other lines."""
        files = {
            callback.content: str(callback.path)
            for callback in getattr(self.trainer, "callbacks", [])
            if getattr(callback, "content", None) and getattr(callback, "path", None)
        }
        lines = {**before, **files, **after}
        width = max(map(len, lines), default=0)
        for content, place in lines.items():
            _tell(f"{content:<{width}}  {place}")


@rank_zero_only
def _tell(text: str) -> None:
    print(text)


def _plain(config: Any) -> dict[str, Any]:
    return {} if config is None else dict(config.as_dict())


def _check_null(key: str, given: dict[str, Any]) -> None:
    """Refuse null for an argument that is never None by its annotation: the parser does not."""
    parameters = signature(resolve_name(given["class_path"])).parameters
    for name, value in given.get("init_args", {}).items():
        if value is None and name in parameters:
            type_ = str(parameters[name].annotation)
            if not any(word in type_ for word in ("None", "Optional", "Any", "_empty")):
                raise InputError(f"--{key}.{name}: null was given; leave it out, or type a value")


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]
