"""The LightningCLI of a command."""

import argparse
import shlex
import sys
import warnings
from functools import partial
from pkgutil import resolve_name
from typing import Any, final

from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

# The parser knows a class by its short name only after its module is imported.
import linreg_lightning.data  # noqa: F401
from linreg_lightning.callbacks.prediction_writer import PredictionWriter
from linreg_lightning.callbacks.validation_record import ValidationRecord
from linreg_lightning.checkpoint_io import AtomicCheckpointIO, use_checkpoint_io
from linreg_lightning.cli.checkpoint_content import LoadedCheckpointIO
from linreg_lightning.cli.checkpoint_trust import TRUST_HELP
from linreg_lightning.cli.command import ROOT, active
from linreg_lightning.cli.config_files import ConfigByName, name_file
from linreg_lightning.cli.default_callbacks import default_callbacks, shows_progress
from linreg_lightning.cli.error_messages import add_flags, missing_metric
from linreg_lightning.cli.first_parse import FirstParse
from linreg_lightning.cli.fit_report import fit_report, stop_reason, table_settings, unsaved_metric
from linreg_lightning.cli.help_text import description
from linreg_lightning.cli.loggers import logger_error
from linreg_lightning.cli.measured_rows import SPLIT_ARGUMENTS
from linreg_lightning.cli.named_configs import named_configs
from linreg_lightning.cli.optimizers import (
    add_optimizer_options,
    check_optimizer,
    use_optimizer,
)
from linreg_lightning.cli.option_checks import check_options
from linreg_lightning.cli.option_parser import OptionParser
from linreg_lightning.cli.resumed_fit import check_early_stopping
from linreg_lightning.cli.run_folder import RunFolder
from linreg_lightning.cli.setting_values import PARSER_MODE
from linreg_lightning.errors import InputError
from linreg_lightning.logger import RunLogger
from linreg_lightning.protocols import WritesFile, is_single_pass

TRAINER_DEFAULTS = {
    "default_root_dir": ROOT,
    "logger": True,
    "max_epochs": 100,
    "enable_model_summary": False,
}


@final
class TrainerCLI(LightningCLI):
    """A LightningCLI over any model and data module, with defaults for both.

    With a checkpoint, its classes and hyper-parameters are the defaults, and an option that
    contradicts the model's is an error. Without one, only `fit` runs. `first_parse` has the
    subcommand, the classes and the checkpoint, which decide the options and their defaults.
    `owns_process` says whether the process is of this run alone, and may be started once a device.
    InputError names the option that cannot work.
    """

    def __init__(self, args: list[str], first_parse: FirstParse, owns_process: bool = True) -> None:
        self._args, self._first_parse, self._owns_process = args, first_parse, owns_process
        self._checkpoint = first_parse.checkpoint
        self.config: Any = None
        parser_kwargs: dict[str, Any] = {"exit_on_error": False, "parser_mode": PARSER_MODE}
        devices = {} if owns_process else {"devices": 1}
        subcommand_kwargs = {
            name: {**parser_kwargs, "description": description(name)} for name in self.subcommands()
        }
        try:
            super().__init__(
                save_config_callback=RunFolder,
                trainer_defaults={**TRAINER_DEFAULTS, **devices, **active().trainer},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs=parser_kwargs | subcommand_kwargs,
                args=args,
                datamodule_class=LightningDataModule,
                subclass_mode_data=True,
            )
        except ValueError as error:
            # The parser wraps an InputError that a constructor raises.
            cause = error if isinstance(error, InputError) else error.__cause__
            if not isinstance(cause, InputError):
                if message := logger_error(error):
                    raise InputError(message) from None
                raise
            classes: dict[str, type] = {"trainer": Trainer}
            if self.config is not None:
                classes |= {k: resolve_name(self._options[k].class_path) for k in ("model", "data")}
            message = add_flags(str(cause), classes)
            raise InputError(name_file(message, args, first_parse.configs)) from None

    @property
    def _options(self) -> Any:
        """The subcommand's options as values; `config_init` holds the objects made of them."""
        return self.config[self.config.subcommand]

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the given subcommand, or all; its parameters listed here get no option."""
        return {
            name: skipped | {"ckpt_path", "return_predictions"}  # set by this class
            for name, skipped in LightningCLI.subcommands().items()
            if self._first_parse.command in (None, name)
        }

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser whose configurations may be given by name."""
        parser = OptionParser(**kwargs)
        parser.command = self._first_parse.command
        parser.prints_completion = any(word.startswith("--print_completion") for word in self._args)
        names = ", ".join(sorted(named_configs(active())))
        text = f"A file of settings in YAML, the folder of a run, or one of the names {names}."
        parser.add_argument("-c", "--config", action=ConfigByName, help=text)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the command's own options; set the defaults, which a checkpoint overrides."""
        text = "A checkpoint: a file, last (the newest run's), or best (the newest run's best)."
        parser.add_argument("--ckpt_path", type=str | None, default=None, help=text)
        parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
        if self._first_parse.command == "fit":
            text = "Whether to draw pictures of the fit, for TensorBoard and as PNG files."
            parser.add_argument("--figures", type=bool, default=True, help=text)
            add_optimizer_options(parser, self._checkpoint)
        if self._first_parse.command == "predict":
            parser.add_class_arguments(PredictionWriter, as_group=False, skip={"keep"})
            text = "Columns of the input to write beside the predictions: a name, or [a, b]."
            parser.add_argument("--keep", type=str | list[str] | None, default=[], help=text)
        for key in ("model", "data"):
            (parser.groups or {})[key].title = f"The {key}; --{key}.help NAME lists its options"
        parser.set_defaults(self._first_parse.defaults())

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse options that contradict the checkpoint, and anything but a fit without one."""
        command = self._first_parse.command
        lacks_checkpoint = self._checkpoint is None and command in ("validate", "test", "predict")
        try:
            self.config = parser.parse_args(self._first_parse.args)
        except argparse.ArgumentError:
            if not lacks_checkpoint:  # whose defaults would have avoided the error
                raise
        if lacks_checkpoint:
            raise InputError(
                f"--ckpt_path: none was given, and {command} needs a fitted model; type "
                "--ckpt_path last for the newest, or a checkpoint's path"
            )
        options = self._options
        check_options(options)
        if command == "fit":
            check_optimizer(parser, self._first_parse.args, options, self._checkpoint)
        if self._checkpoint is not None:
            change = command == "fit" and options.change
            self._checkpoint.check_model(options.model.as_dict(), command == "fit", change)
            data = options.data.as_dict()
            self._checkpoint.check_data(data, str(command), change)
            for name in data.get("init_args", {}).keys() & SPLIT_ARGUMENTS:
                options.data.init_args[name] = data["init_args"][name]
        # From this path Lightning would read hyper-parameters, which then override the options.
        # `after_instantiate_classes` restores it.
        options.ckpt_path = None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the default callbacks and logger, where the user has not chosen others."""
        options = self.config_init[self.subcommand]
        trainer = options.trainer
        if trainer.logger is True and not trainer.barebones:
            kwargs["logger"] = RunLogger(trainer.default_root_dir or ROOT)
        elif trainer.logger in (None, True):
            kwargs["logger"] = False
        if trainer.log_every_n_steps is None and not trainer.barebones:
            # Lightning warns of its own interval before LogInterval has set another.
            warnings.filterwarnings("ignore", "The number of training batches .* is smaller than")
        if trainer.accelerator == "auto" and MPSAccelerator.is_available():
            kwargs["accelerator"] = "cpu"  # Apple's GPU has no float64
        if trainer.enable_progress_bar is None and not shows_progress(trainer):
            trainer.enable_progress_bar = False
        figures = self.subcommand == "fit" and options.figures and not trainer.barebones
        callbacks = default_callbacks(trainer, figures, [active().name, *self._args])
        if self.subcommand == "fit":
            callbacks += use_optimizer(self.model, self._options, self._checkpoint)
            callbacks.append(ValidationRecord())
        if self.subcommand == "predict":
            keep = [options.keep] if isinstance(options.keep, str) else options.keep or []
            how = options.intervals, keep, options.format, options.original_units
            callbacks.append(PredictionWriter(*how))
        try:
            made = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (TypeError, ValueError) as error:
            raise InputError(f"--trainer: {error}") from error
        if made.world_size > 1 and not self._owns_process:
            raise InputError(
                f"--trainer.devices: {trainer.devices} was given, and each device would run this "
                "script, with all its fits, once more; type 1, or start the command by itself"
            )
        return made

    def after_instantiate_classes(self) -> None:
        """Let the subcommand start at the checkpoint; `predict` keeps nothing in memory."""
        command: str = self.config.subcommand
        path: str | None = None
        checkpoint_io = AtomicCheckpointIO()
        if self._checkpoint is not None:
            path = str(self._checkpoint.path)
            checkpoint_io = LoadedCheckpointIO(self._checkpoint, self.model)
        use_checkpoint_io(self.trainer, checkpoint_io)
        self._options.ckpt_path = path  # for the config.yaml of the run
        arguments = {"return_predictions": False} if command == "predict" else {}
        # Lightning calls the method of the subcommand's name, between its before_ and its after_.
        setattr(self, command, partial(getattr(self.trainer, command), ckpt_path=path, **arguments))

    def before_fit(self) -> None:
        """Refuse to resume a run with no epoch left, or to add the same rows twice."""
        checkpoint, max_epochs = self._checkpoint, self.trainer.max_epochs
        if checkpoint is None:
            return
        if not isinstance(checkpoint.content.get("optimizer_states"), list):
            raise InputError(
                f"--ckpt_path: {checkpoint.path} holds coefficients alone, without the state of "
                "the optimizer, so a fit cannot go on from it; start anew without --ckpt_path"
            )
        check_early_stopping(self.trainer, checkpoint, self._options.change)
        if is_single_pass(self.model):
            if checkpoint.has_rows_of(self._options.data.as_dict()):
                raise InputError(
                    f"--data: {checkpoint.path} holds the statistics of these rows already, or of "
                    "some of them, and a fit would add them once more; name new rows, such as "
                    "--data.path NEW.csv"
                )
        elif max_epochs is not None and 0 <= max_epochs <= checkpoint.epochs:
            raise InputError(
                f"--trainer.max_epochs: it is {max_epochs}, and {checkpoint.path} has run "
                f"{checkpoint.epochs} epochs already; type a larger number"
            )

    def after_fit(self) -> None:
        """Print the result and the files of the run; refuse a fit without a batch."""
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if batches == (0 if self._checkpoint is None else self._checkpoint.batches):
            raise InputError(
                "--trainer: no batch was trained on, so nothing has been fitted; raise "
                "max_epochs, max_steps, max_time or limit_train_batches, whichever is in force"
            )
        report, logger = fit_report(self.trainer, self.model), self.trainer.logger
        if report and self.trainer.is_global_zero:
            before = "\n" if sys.stdout.isatty() else ""  # apart from messages of the run
            print(f"{before}{report}\n")
        lines = {"stopped": stop_reason(self.trainer), "settings": table_settings(self._options)}
        if isinstance(logger, RunLogger):
            lines["run"] = logger.log_dir
        lines |= self._written_files()
        if isinstance(logger, RunLogger):
            lines["curves"] = f"tensorboard --logdir {shlex.quote(logger.save_dir)}"
        self._print({label: text for label, text in lines.items() if text})
        if metric := unsaved_metric(self.trainer):
            reason = missing_metric(metric, list(self.trainer.callback_metrics))
            raise InputError(f"--trainer.callbacks: {reason}; no checkpoint was saved without it")

    def after_predict(self) -> None:
        """Print the file of predictions; refuse a run that has written none."""
        files = self._written_files()
        if PredictionWriter.file_label not in files:
            raise InputError(
                "predict: nothing was written; the model must predict a tensor of (rows,) or "
                "(rows, targets), and the data must have rows to predict"
            )
        for each in self._callbacks():
            if isinstance(each, PredictionWriter) and each.units is not None:
                files["units"] = str(each.units)
        self._print(files)

    def _callbacks(self) -> list[Any]:
        trainer: Any = self.trainer  # Lightning sets `callbacks` without declaring it
        return list(trainer.callbacks)

    def _written_files(self) -> dict[str, str]:
        writers = [each for each in self._callbacks() if isinstance(each, WritesFile) and each.path]
        return {each.file_label: str(each.path) for each in writers}

    def _print(self, lines: dict[str, str]) -> None:
        width = max(map(len, lines), default=0)
        for label, text in lines.items() if self.trainer.is_global_zero else ():
            print(f"{label:<{width}}  {text}")
