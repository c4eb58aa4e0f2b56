"""The `linreg` command: its defaults, and what it makes of a checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO, final

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from linreg_lightning.callbacks import (
    CoefficientFile,
    CoefficientMonitor,
    LogInterval,
    PredictionWriter,
)
from linreg_lightning.cli.stored import Stored
from linreg_lightning.data import SyntheticData
from linreg_lightning.errors import InputError
from linreg_lightning.logger import RunLogger
from linreg_lightning.models import LinearRegression, RegressionModule

ROOT = "logs"


def run(args: list[str]) -> None:
    """Run a command line that names a subcommand.

    Raises:
        SystemExit: it could not be done; the message has been printed.
    """
    with _quiet():
        try:
            LinregCLI(args)
        except (InputError, MisconfigurationException, OSError) as error:
            _tell(f"linreg: error: {error}", file=sys.stderr)
            raise SystemExit(1) from None


@final
class LinregCLI(LightningCLI):
    """A LightningCLI over any model and data module, whose defaults are the tutorial's problem.

    It differs from Lightning's where that would go on silently with something else than was asked
    for: with a checkpoint, its classes and hyper-parameters are the defaults, and a flag that
    contradicts the model's is an error; without one, nothing but `fit` runs.
    """

    def __init__(self, args: list[str]) -> None:
        self._preview = _Preview.of(args)
        self._stored: Stored | None = None
        self._coefficients = CoefficientFile()
        self._predictions = PredictionWriter()
        super().__init__(
            save_config_kwargs={"overwrite": True},  # each run has a folder of its own
            trainer_defaults={
                "default_root_dir": ROOT,
                "max_epochs": 100,
                "enable_model_summary": False,
                "callbacks": [CoefficientMonitor(), self._coefficients, self._predictions],
            },
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=_Parser,
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's four, or just the one that is asked for: a parser takes 30 ms to make."""
        commands = LightningCLI.subcommands()
        commands["predict"].add("return_predictions")  # PredictionWriter has them
        asked = self._preview.command
        return {asked: commands[asked]} if asked in commands else commands

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Make the tutorial's problem the default."""
        parser.set_defaults(
            {
                "model": {"class_path": _class_path(LinearRegression)},
                "data": {"class_path": _class_path(SyntheticData)},
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse with a checkpoint's own settings as defaults, if there is one."""
        assert isinstance(args, list)
        command, ckpt_path = self._preview.command, self._preview.ckpt_path
        if ckpt_path is not None and command is not None:
            self._stored = Stored.read(ckpt_path, self._preview.root)
            defaults = {"model": self._stored.model, "data": self._stored.data}
            self._subcommand_parsers[command].set_defaults(
                {name: value for name, value in defaults.items() if value is not None}
            )
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        if self._stored is not None:
            config.ckpt_path = str(self._stored.path)
            self._stored.check_model(config.model.as_dict())
        elif self.config.subcommand != "fit":
            raise InputError(
                f"--ckpt_path: none was given, and {self.config.subcommand} needs a fitted model; "
                "type --ckpt_path last for the newest, or a checkpoint's path"
            )

    def _parse_ckpt_path(self) -> None:
        """Lightning's own reading of the checkpoint, which overrides flags; ours has been done."""

    def before_instantiate_classes(self) -> None:
        """Refuse a shape that the data decide."""
        model = self._get(self.config, "model").as_dict()
        stored = {} if self._stored is None or not self._stored.model else self._stored.model
        for name in ("in_features", "out_features"):
            value = model.get("init_args", {}).get(name)
            if (
                value is not None
                and value != stored.get("init_args", {}).get(name)
                and _is_ours(model["class_path"])
            ):
                raise InputError(
                    f"--model.{name}: {value} was given, but the data decide it; leave it out"
                )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what only the run's own settings decide: logger, log interval, accelerator."""
        config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = []
        if config.logger in (None, True):
            kwargs["logger"] = RunLogger(config.default_root_dir or ROOT)
        if config.logger is not False and not config.fast_dev_run:
            callbacks.append(LearningRateMonitor())
        if config.log_every_n_steps is None:
            callbacks.append(LogInterval())
        if config.accelerator == "auto" and MPSAccelerator.is_available():
            kwargs["accelerator"] = "cpu"  # Apple's GPU has no float64
        given = config.callbacks or []
        given = given if isinstance(given, list) else [given]
        try:
            return super().instantiate_trainer(callbacks=[*given, *callbacks], **kwargs)
        except (TypeError, ValueError) as error:
            raise InputError(f"--trainer: {error}") from error

    def after_fit(self) -> None:
        """Show the answer, and where it lies."""
        if self._stored is not None and self.trainer.global_step == self._stored.global_step:
            raise InputError(
                f"--trainer.max_epochs: {self.trainer.max_epochs} was given, but "
                f"{self._stored.path} has run as many already; type a larger number"
            )
        if hasattr(self.model, "summary"):
            _tell(f"\n{self.model.summary()}\n")
        if self._coefficients.path is not None:
            _tell(f"coefficients  {self._coefficients.path}")
        if isinstance(self.trainer.logger, RunLogger):
            _tell(f"curves        tensorboard --logdir {self.trainer.logger.save_dir}")

    def predict(self, **kwargs: Any) -> None:
        """Predict without keeping the predictions in memory: PredictionWriter has them."""
        self.trainer.predict(return_predictions=False, **kwargs)

    def after_predict(self) -> None:
        """Show where the predictions lie."""
        if self._predictions.path is not None:
            _tell(f"predictions  {self._predictions.path}")


@rank_zero_only
def _tell(text: str, file: TextIO | None = None) -> None:
    print(text, file=file)


class _Parser(LightningArgumentParser):
    """Lightning's parser, with an error in a few lines instead of pages of usage."""


def _class_path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_ours(class_path: str) -> bool:
    module, _, name = class_path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and issubclass(cls, RegressionModule)


class _Preview(NamedTuple):
    """What decides the defaults for parsing the rest."""

    command: str | None
    ckpt_path: str | None
    root: str

    @classmethod
    def of(cls, args: list[str]) -> _Preview:
        """Read a command line, and the configuration files it names, for these three alone."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        parser.add_argument("--ckpt_path")
        parser.add_argument("--trainer.default_root_dir", dest="root")
        flags, rest = parser.parse_known_args(args)
        ckpt_path, root = None, ROOT
        for file in flags.config:
            # A file that cannot be read is for the real parser to complain of.
            with contextlib.suppress(OSError, yaml.YAMLError, AttributeError):
                content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
                ckpt_path = content.get("ckpt_path", ckpt_path)
                root = content.get("trainer", {}).get("default_root_dir", root)
        command = next((word for word in rest if word in LightningCLI.subcommands()), None)
        return cls(command, flags.ckpt_path or ckpt_path, flags.root or root)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep out messages about the libraries' own insides, and advertisements; nothing broader."""

    def no_tip(record: logging.LogRecord) -> bool:
        return "Tip: For seamless cloud" not in record.getMessage()

    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(no_tip)
    with warnings.catch_warnings():
        for message in (
            ".*isinstance\\(treespec, LeafSpec\\).*",
            "LightningCLI's args parameter is intended to run from within Python.*",
        ):
            warnings.filterwarnings("ignore", message)
        try:
            yield
        finally:
            logger.removeFilter(no_tip)
