"""A fit resumes from its checkpoint alone, with models of one's own, and with changed settings."""

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor, nn

from linreg_lightning import cli
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.setting_values import PARSER_MODE
from linreg_lightning.cli.stored_arguments import differing_arguments

MODULE = """
import dataclasses, datetime, enum, pathlib, typing
import torch
from collections.abc import Callable
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Kind(enum.Enum):
    A = "a"
    B = "b"

@dataclasses.dataclass
class Inner:
    betas: tuple[float, float] = (0.9, 0.99)
    kind: Kind = Kind.A

@dataclasses.dataclass
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    n: int = 1

class Data(LightningDataModule):
    def __init__(self, shape: tuple[int, int] = (60, 1), skip: set[str] = {"xx", "y.z"}):
        super().__init__()
        self.save_hyperparameters()
        assert type(shape) is tuple and type(skip) is set
        self.x = torch.linspace(-3, 3, shape[0])[:, None]
    def train_dataloader(self):
        return DataLoader(TensorDataset(self.x, self.x.sin()), batch_size=20)
    test_dataloader = train_dataloader
    def predict_dataloader(self):
        return DataLoader(self.x[:9], batch_size=5)

class Base(LightningModule):
    def keep(self):
        self.save_hyperparameters()
        self.l = nn.Linear(1, 1)
    def loss(self, batch): return nn.functional.mse_loss(self.l(batch[0]), batch[1])
    def training_step(self, batch, i):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss
    def test_step(self, batch, i): self.log("test_loss", self.loss(batch))
    def predict_step(self, batch, i): return self.l(batch)
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.1)
"""
# type, default, a true statement about the value, another value on a command line
TYPES = {
    "Tuple": ("tuple[int, int]", "(8, 8)", "type(a) is tuple", "[4,4]"),
    "Tuples": ("list[tuple[int, int]]", "[(8, 8)]", "type(a[0]) is tuple", "[[4,4]]"),
    "DictOfTuples": ("dict[str, tuple[int, int]]", "{'k': (1, 2)}", "type(a['k']) is tuple", ""),
    "IntKeys": ("dict[int, float]", "{1: 2.0}", "1 in a", ""),
    "Texts": ("set[str]", "{'xx', 'y', 'a.b'}", "type(a) is set", "[y]"),
    "Frozen": ("frozenset[int]", "frozenset({1, 3})", "3 in a", "[1]"),
    "Enum": ("Kind", "Kind.A", "isinstance(a, Kind)", "B"),
    "MaybeEnum": ("Kind | None", "Kind.A", "isinstance(a, Kind)", "B"),
    "Class": ("Inner", "Inner()", "type(a.betas) is tuple", ""),
    "Nested": ("Outer", "Outer()", "a.inner.kind is Kind.A", ""),
    "File": ("pathlib.Path", "pathlib.Path('a/b.csv')", "isinstance(a, pathlib.Path)", "c.csv"),
    "Choice": ("typing.Literal['x', 'y']", "'x'", "a in ('x', 'y')", "y"),
    "Either": ("int | tuple[int, int] | None", "(3, 4)", "type(a) is tuple", "[4,3]"),
    "Time": ("datetime.timedelta", "datetime.timedelta(1)", "a.days == 1", "2:00:00"),
    "Date": ("datetime.datetime", "datetime.datetime(2020, 1, 2)", "a.year == 2020", ""),
    "Device": ("torch.device", "torch.device('cpu')", "a.type == 'cpu'", ""),
    "Number": ("torch.dtype", "torch.float32", "a is torch.float32", ""),
    "Optim": ("OptimizerCallable", "torch.optim.Adam", "callable(a)", "torch.optim.SGD"),
    "Lambda": ("OptimizerCallable", "lambda p: torch.optim.SGD(p, 0.1)", "callable(a)", ""),
    "Schedule": (
        *("LRSchedulerCallable", "lambda o: torch.optim.lr_scheduler.StepLR(o, 1)"),
        *("callable(a)", ""),
    ),
    "Function": ("Callable", "torch.relu", "callable(a)", ""),
    "Made": ("Callable[[], nn.Module]", "nn.ReLU", "isinstance(a(), nn.Module)", "torch.nn.Tanh"),
    "Bytes": ("bytes", "b'abc'", "a == b'abc'", ""),
}
MORE = """
class Net(Base):
    def __init__(self, hidden: int = 4, lr: float = 0.1, drop: float = 0.0):
        super().__init__()
        self.save_hyperparameters()
        self.l = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)

class Stepped(Net):
    def __init__(self, lr: float = 0.1, step_size: int = 2, total: int = 0, **kwargs):
        super().__init__(lr=lr, **kwargs)
        self.save_hyperparameters()
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        if self.hparams.total:
            return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.hparams.lr, total_steps=self.hparams.total)]
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, self.hparams.step_size)]

class Loose(Base):
    def __init__(self, a: int = 1, **kwargs):
        super().__init__()
        self.keep()
        assert kwargs == {"extra": 3}

class WithNumber(Base):
    def __init__(self):
        super().__init__()
        self.keep()
    def on_save_checkpoint(self, checkpoint):
        import numpy
        checkpoint["best"] = numpy.float64(1.0)
"""
RUN = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
Refused = Callable[..., str]


def all_types() -> str:
    """Return a model with an argument of each type, named after it."""
    arguments = ", ".join(
        f"{name}: {kind} = {default}" for name, (kind, default, *_) in TYPES.items()
    )
    checks = "".join(
        f"        a = {name}\n        assert {check}, repr(a)\n"
        for name, (_, _, check, _) in TYPES.items()
    )
    start = "        super().__init__()\n        self.keep()\n"
    return f"class All(Base):\n    def __init__(self, {arguments}):\n{start}{checks}"


@pytest.fixture(autouse=True)
def _own_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the module own.py, which each test imports anew."""
    Path("own.py").write_text("\n".join([MODULE, all_types(), MORE]))
    monkeypatch.syspath_prepend(str(Path.cwd()))
    sys.modules.pop("own", None)
    yield
    sys.modules.pop("own", None)


def linreg(line: str) -> None:
    """Run a command line; a fit draws no figures."""
    words = line.split()
    cli.main([*words, *RUN, *(["--figures", "false"] if words[0] == "fit" else [])])


def fit(model: str, epochs: int = 2, more: str = "") -> None:
    linreg(f"fit --model own.{model} --data own.Data --trainer.max_epochs {epochs} {more}")


def resume(epochs: int, more: str = "") -> None:
    linreg(f"fit --ckpt_path last --trainer.max_epochs {epochs} {more}")


def newest() -> dict[str, Any]:
    files = sorted(Path().glob("**/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    return dict(torch.load(files[-1], weights_only=True))


def test_arguments_of_any_type_resume_and_predict_from_the_checkpoint_alone() -> None:
    fit("All", 1)
    for command in ("predict", "test"):
        linreg(f"{command} --ckpt_path last")
    resume(2, "--model.Tuple [8,8] --model.Texts [a.b,y,xx] --model.Enum A")
    checkpoint = CheckpointInfo.read("last", "logs")
    parser = LightningArgumentParser(exit_on_error=False, parser_mode=PARSER_MODE)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    others = {name: other for name, (*_, other) in TYPES.items() if other}
    for values in (others, {}):
        words = [f"--model.{name}={value}" for name, value in values.items()]
        given = parser.parse_args(["--model", "own.All", *words]).model.as_dict()
        assert set(checkpoint.model_changes(given)) == set(values)


def test_a_value_typed_in_another_notation_is_the_same_value(refused: Refused) -> None:
    fit("All", 1, "--model.Tuple [4,4]")
    linreg("test --ckpt_path last --model.Tuple [4,4] --data.skip [y.z,xx]")
    assert "(8, 8) was given" in refused("test --ckpt_path last --model.Tuple [8,8]")
    message = refused("fit --ckpt_path last --trainer.max_epochs 2 --model.Enum B")
    assert "--model.Enum: B was given, but" in message
    assert message.endswith(
        "was made with A; leave --model.Enum out, or start anew without "
        "--ckpt_path, or type --change to go on with the new value"
    )
    assert "--data.shape: (60, 2) was given" in refused(
        "fit --ckpt_path last --trainer.max_epochs 2 --data.shape [60,2]"
    )


def test_arguments_for_kwargs_resume_too(refused: Refused) -> None:
    fit("Loose", 1, "--model.dict_kwargs.extra 3")
    linreg("predict --ckpt_path last")
    message = refused("test --ckpt_path last --model.dict_kwargs.extra 4")
    assert "--model.extra: 4 was given, but" in message
    resume(2)
    assert newest()["hyper_parameters"]["extra"] == 3


def test_comparing_arguments_imports_no_module() -> None:
    Path("evil.py").write_text("open('was_imported', 'w')")
    import_module("own")
    given = {"class_path": "own.All", "init_args": {"Function": torch.relu}}
    stored = {"class_path": "own.All", "init_args": {"Function": "evil.run"}}
    assert list(differing_arguments("model", stored, given)) == ["Function"]
    assert not Path("was_imported").exists()


# Changed settings


def rows() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-3, 3, 60)[:, None]
    return x, x.sin()


def train(net: nn.Module, optimizer: Any, epochs: int, schedule: Any = None) -> None:
    x, y = rows()
    for _ in range(epochs):
        for start in (0, 20, 40):
            batch = slice(start, start + 20)
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[batch]), y[batch]).backward()
            optimizer.step()
        if schedule is not None:
            schedule.step()


def first_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


def assert_weights(net: nn.Module) -> None:
    stored = {name.removeprefix("l."): value for name, value in newest()["state_dict"].items()}
    assert all(torch.equal(stored[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("steps", ["1", "50"])
def test_a_changed_learning_rate_equals_a_loop_that_changes_it(steps: str) -> None:
    tight = f"--trainer.callbacks+=TightLoop --trainer.callbacks.steps={steps}"
    fit("Net", 3, tight)
    resume(6, f"--model.lr 0.02 --change {tight}")
    net = first_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    train(net, optimizer, 3)
    optimizer.param_groups[0]["lr"] = 0.02
    train(net, optimizer, 3)
    assert_weights(net)
    assert newest()["hyper_parameters"]["lr"] == 0.02
    resume(7, tight)  # the new value is that of the checkpoint now
    train(net, optimizer, 1)
    assert_weights(net)


def test_a_schedule_keeps_its_position_with_a_changed_rate() -> None:
    fit("Stepped", 3)
    resume(6, "--model.lr 0.05 --model.step_size 4 --change")
    net = first_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    train(net, optimizer, 3, torch.optim.lr_scheduler.StepLR(optimizer, 2))
    optimizer.param_groups[0].update(lr=0.05, initial_lr=0.05)
    train(net, optimizer, 1)  # epochs 4 to 8 of the new schedule have a tenth of the rate
    optimizer.param_groups[0]["lr"] = 0.05 * 0.1
    train(net, optimizer, 2)
    assert_weights(net)


def test_an_optimizer_of_another_class_starts_without_a_state(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit("Net", 2)
    resume(4, "--optimizer Adam --optimizer.lr 0.01 --change")
    assert "--optimizer null -> Adam" in capsys.readouterr().err
    net = first_net()
    train(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), 2)
    train(net, torch.optim.Adam(net.parameters(), lr=0.01), 2)
    assert_weights(net)


def test_a_plateau_keeps_the_rate_it_has_reached() -> None:
    plateau = "--lr_scheduler ReduceLROnPlateau --lr_scheduler.monitor train_loss"
    fit("Net", 3, f"--optimizer SGD {plateau} --lr_scheduler.patience 0 --lr_scheduler.threshold 9")
    (group,) = newest()["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(0.001)
    resume(4, "--lr_scheduler.patience 5 --change")
    (group,) = newest()["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(0.001)
    assert newest()["lr_schedulers"][0]["patience"] == 5
    resume(5, "--model.lr 0.5 --change")
    (group,) = newest()["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.5


def test_a_change_of_shapes_or_of_meaning_is_refused(refused: Refused) -> None:
    fit("Net", 1)
    message = refused("fit --ckpt_path last --trainer.max_epochs 3 --change --model.hidden 64")
    assert "--model.hidden 64 was given, but" in message
    assert "l.0.weight is (4, 1), not (64, 1)" in message
    assert "--change: it was given without a checkpoint" in refused("fit --change")
    linreg("fit --trainer.max_epochs 1")
    message = refused("fit --ckpt_path last --change --model.standardize true")
    assert message.endswith("leave --model.standardize out, or start anew without --ckpt_path")


def test_early_stopping_may_be_changed_added_and_left_out(
    refused: Refused, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    def stop(patience: int) -> str:
        return (
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=train_loss "
            f"--trainer.callbacks.min_delta=10 --trainer.callbacks.patience={patience}"
        )

    fit("Net", 40, stop(2))
    assert newest()["epoch"] == 2
    message = refused("fit --ckpt_path last", stop(4))
    assert "EarlyStopping has patience 4, but" in message
    assert "type --change to go on with 4" in message
    linreg(f"fit --ckpt_path last {stop(2)}")
    assert newest()["epoch"] == 3
    assert "EarlyStopping had stopped this run, after 2 checks" in capsys.readouterr().err
    linreg(f"fit --ckpt_path last {stop(6)} --change")
    assert newest()["epoch"] == 6
    resume(8)
    assert newest()["epoch"] == 7
    resume(10, stop(6))
    assert newest()["epoch"] == 9


# Schedules that have run out


def test_a_schedule_that_has_run_out_says_what_to_do(
    refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    fit("Stepped", 3, "--model.total 3")
    message = refused("fit --ckpt_path last --trainer.max_epochs 6")
    assert "OneCycleLR ends after 3 steps" in message
    resume(6, "--model.total 6 --change")
    resume(8, "--model.total 0 --model.lr 0.01 --change")
    cosine = "--lr_scheduler CosineAnnealingLR --lr_scheduler.T_max 2"
    resume(10, f"--optimizer SGD {cosine} --change")
    capsys.readouterr()
    resume(12)
    assert "CosineAnnealingLR has come to its end, after 2 of 2 steps" in capsys.readouterr().err


# Objects in checkpoints


def test_a_number_of_numpy_is_named_and_weights_only_is_obeyed(refused: Refused) -> None:
    fit("WithNumber", 1)
    message = refused("predict --ckpt_path last")
    assert "holds a number or an array of numpy (numpy._core.multiarray.scalar)" in message
    assert "\x1b" not in message
    for line in ("predict", "test", "fit --trainer.max_epochs 2"):
        linreg(f"{line} --ckpt_path last --weights_only false")
    Path("config.yaml").write_text("weights_only: false\n")
    assert "numpy" in refused("predict --ckpt_path last -c config.yaml")


# Classes that have changed


@pytest.mark.parametrize(
    ("old", "new", "model", "expected"),
    [
        ("drop: float = 0.0", "drop: float = 0.0, more: int = 2", "Net", ""),
        ("drop: float = 0.0", "**kwargs", "Net", ""),
        (", drop: float = 0.0", "", "Net", "with drop 0.0, and Net has no argument drop now"),
        ("Net", "Other", "Net", "type its new name (--model package.Class)"),
        ("Net", "Other", "Other", ""),
    ],
)
def test_a_class_that_has_changed_is_read_or_named(
    old: str, new: str, model: str, expected: str, refused: Refused
) -> None:
    fit("Net", 1)
    Path("own.py").write_text(Path("own.py").read_text().replace(old, new))
    import_module("importlib").invalidate_caches()
    del sys.modules["own"]
    line = f"predict --ckpt_path last --model own.{model} --data own.Data"
    if expected:
        assert expected in refused(line)
    else:
        linreg(line)


def test_a_class_of_a_renamed_module_is_found_by_its_new_name(refused: Refused) -> None:
    fit("Net", 1)
    Path("own.py").rename("moved.py")
    del sys.modules["own"]
    assert "cannot be imported" in refused("predict --ckpt_path last --trust")
    linreg("predict --ckpt_path last --model moved.Net --data moved.Data")


def test_the_classes_of_a_run_are_known_beside_its_own_settings(refused: Refused) -> None:
    fit("Net", 1)
    del sys.modules["own"]
    for forged in (0, True, None, list(Path("/").stat()[1:3])):
        shutil.rmtree("copied", ignore_errors=True)
        shutil.copytree("logs", "copied", copy_function=shutil.copy2)
        file = next(Path("copied").glob("**/*.ckpt"))
        content = torch.load(file, weights_only=True)
        if forged != 0:
            content |= {"run_written": forged, "run_folder": forged}
        torch.save(content, file)
        message = refused("predict --ckpt_path last --trainer.default_root_dir copied")
        assert "names the class own.Net, and opening it would run the code" in message
        assert "own" not in sys.modules
    Path("logs").rename("moved")
    linreg("predict --ckpt_path last --trainer.default_root_dir moved")


def test_a_trusted_class_is_replaced_by_its_new_name(refused: Refused) -> None:
    fit("Net", 1)
    Path("own.py").write_text(Path("own.py").read_text().replace("Net", "Other"))
    import_module("importlib").invalidate_caches()
    for trust in ("", " --trust"):
        del sys.modules["own"]
        linreg(f"predict --ckpt_path last --model own.Other{trust}")
