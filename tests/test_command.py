"""A project's command has its own names, classes and settings, and does all that linreg does."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linreg_lightning import InputError, cli
from linreg_lightning.callbacks import peer_monitor
from linreg_lightning.cli import Command, run
from linreg_lightning.cli.command_words import option_words
from linreg_lightning.errors import PROGRAM
from linreg_lightning.tables.prefetch import prefetch

QUIET = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
FIT = {"trainer.accelerator": "cpu", "trainer.enable_progress_bar": False, "figures": False}
FILES = {
    "__init__.py": "",
    "__main__.py": """
        from linreg_lightning.cli import Command

        command = Command(
            name="my-project",
            about="Tell signs apart.",
            model="my_project.model.SignNetwork",
            data="my_project.data.SignData",
            version="0.3.0",
            trainer={"max_epochs": 2},
            callbacks=["my_project.model.Printer"],
            models=["my_project.deep.DeepNetwork"],
        )
        if __name__ == "__main__":
            command.run()
        """,
    "tables.py": """
        from linreg_lightning.cli import Command

        command = Command(
            name="houses",
            about="Predict prices.",
            model="my_project.model.PriceLine",
            data="my_project.data.PriceTable",
            commands={"summary": "linreg_lightning.cli.summary:summary"},
        )
        """,
    "data.py": """
        import lightning.pytorch as pl
        import linreg_lightning as ll
        import torch
        from torch.utils.data import DataLoader, TensorDataset


        class SignData(pl.LightningDataModule):
            def __init__(self, rows: int = 32, batch_size: int = 8):
                super().__init__()
                self.save_hyperparameters()

            def rows(self):
                x = torch.randn(self.hparams.rows, 3, generator=torch.Generator().manual_seed(0))
                return x, (x.sum(dim=1) > 0).long()

            def train_dataloader(self):
                return DataLoader(TensorDataset(*self.rows()), batch_size=self.hparams.batch_size)

            val_dataloader = test_dataloader = predict_dataloader = train_dataloader


        class PriceTable(ll.TabularData):
            def __init__(self, path: str = "houses.csv", target: str = "price", **kwargs):
                super().__init__(path, target, **kwargs)
        """,
    "broken.py": "import no_such_package",
    "deep.py": """
        from my_project.model import SignNetwork


        class DeepNetwork(SignNetwork):
            pass
        """,
    "model.py": """
        import lightning.pytorch as pl
        import linreg_lightning as ll
        import torch
        from torch import nn


        class SignNetwork(pl.LightningModule):
            def __init__(self, width: int = 4, lr: float = 0.01):
                super().__init__()
                self.save_hyperparameters()
                self.layers = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))

            def forward(self, x):
                return self.layers(x)

            def training_step(self, batch, batch_idx, name="train_loss"):
                loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
                self.log(name, loss)
                return loss

            def validation_step(self, batch, batch_idx):
                self.training_step(batch, batch_idx, "val_loss")

            def test_step(self, batch, batch_idx):
                self.training_step(batch, batch_idx, "test_loss")

            def predict_step(self, batch, batch_idx):
                return self(batch[0])

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


        class WideNetwork(SignNetwork):
            def __init__(self, width: int = 8, lr: float = 0.01):
                super().__init__(width, lr)


        class RowNetwork(SignNetwork):
            def __init__(self, rows: int = 8, lr: float = 0.01):
                super().__init__()


        class SignNumber(ll.SupervisedModule):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(3, 1)

            def forward(self, x):
                return self.layer(x)

            def row_loss(self, prediction, y):
                return nn.functional.mse_loss(prediction, y, reduction="none").mean(dim=1)

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters())


        class OpenModel(ll.RegressionModule):
            pass


        class PriceLine(ll.LinearRegression):
            def __init__(self, lr: float = 0.01):
                super().__init__(lr=lr, standardize=True)


        class Printer(pl.Callback):
            def on_fit_end(self, trainer, pl_module):
                print("steps of the project:", trainer.global_step)
        """,
}
CONFIG = "model:\n  class_path: WideNetwork\n  init_args:\n    lr: 0.02\n"

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        file = folder / "my_project" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text))
    (folder / "configs").mkdir()
    (folder / "configs" / "base.yaml").write_text(CONFIG)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        del sys.modules[name]


@pytest.fixture
def command(project: Path) -> Command:
    from my_project.__main__ import command

    assert isinstance(command, Command)
    return command


@pytest.fixture
def tables(project: Path, houses: Path) -> Command:
    from my_project.tables import command

    assert isinstance(command, Command)
    return command


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command line and returns all that it prints."""

    def call(command: Command, words: str, status: int = 0) -> str:
        if words.split()[0] in ("fit", "validate", "test", "predict"):
            words += f" {QUIET}"
        if words.startswith("fit") and "figures" not in words:
            words += " --figures false"
        if status:
            with pytest.raises(SystemExit) as stop:
                command.main(words.split())
            assert stop.value.code == status
        else:
            command.main(words.split())
        out, err = capsys.readouterr()
        assert not re.search(r"\blinreg\b", out + err)
        return out + err

    return call


def state(run: int) -> dict[str, torch.Tensor]:
    (path,) = Path(f"logs/version_{run}").glob("**/*.ckpt")
    return dict(torch.load(path, weights_only=True)["state_dict"])


# Help


def test_the_help_is_about_the_project_and_imports_no_torch(project: Path) -> None:
    code = (
        "import sys; from my_project.__main__ import command\n"
        "command.main(['--help']); command.main(['--version'])\n"
        "assert not {'torch', 'lightning', 'numpy', 'my_project.model'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), *sys.path])},
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "usage: my-project [--help] [--version] {fit,validate,test,predict} ..."
    assert lines[2] == "Tell signs apart."
    assert lines[-1] == "my-project 0.3.0"
    assert max(map(len, lines)) <= 100
    assert not re.search(r"\blinreg\b", done.stdout)
    for words in (
        "base, debug, gpu",
        "--model.help SignNetwork",
        "Models: SignNetwork, DeepNetwork",
        "of my_project",
    ):
        assert words in done.stdout


def test_a_command_knows_the_packages_of_all_its_models_and_data() -> None:
    command = Command("a", "Learn.", "one.Net", "two.Data", models=["three.Net"], table="four.Data")
    assert command.packages == {"one", "two", "three", "four"}


@pytest.mark.parametrize("words", ["fit --help", "predict --help"])
def test_other_texts_have_the_names_of_the_project(
    words: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(words.split())
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "my-project" in text
    assert not re.search(r"\blinreg\b", text)


# Runs


def test_a_project_of_own_classes_fits_resumes_tests_and_predicts(
    command: Command, said: Callable[..., str]
) -> None:
    assert "steps of the project: 16" in said(command, "fit --trainer.max_epochs 4")
    said(command, "fit")
    said(command, "fit --ckpt_path last --trainer.max_epochs 4")
    whole, resumed = state(0), state(2)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    from my_project.data import SignData
    from my_project.model import SignNetwork

    model = SignNetwork()
    model.load_state_dict(whole)
    x, y = SignData().rows()
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(x), y).item()
    printed = re.search(r"test_loss\s+(\S+)", said(command, "test --ckpt_path last"))
    assert printed is not None
    assert float(printed[1]) == pytest.approx(expected, rel=1e-6)
    text = said(command, "predict --ckpt_path last")
    assert len(Path(text.split()[-1]).read_text().splitlines()) == 33
    text = said(command, "fit --ckpt_path last --trainer.max_epochs 5 --change --model.lr 0.1")
    assert "my-project: changed: --model.lr 0.01 -> 0.1; learning rate now 0.1" in text
    said(command, "fit -c logs/version_1")
    repeated = next(Path("logs").glob("version_6/config.yaml")).read_text()
    assert repeated == Path("logs/version_1/config.yaml").read_text()
    (events, *_) = Path("logs/version_0").glob("events*")
    assert b"my-project fit --trainer.max_epochs 4" in events.read_bytes()
    assert b"- my-project 0.3.0" in events.read_bytes()
    for file in Path("logs").rglob("*"):
        if file.is_file():
            assert not re.search(rb"\blinreg\b(?!-lightning)", file.read_bytes()), file


def test_best_is_the_best_checkpoint_of_a_project(
    command: Command, said: Callable[..., str]
) -> None:
    saves = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.monitor=val_loss"
    last = "--trainer.callbacks.save_last=true"
    said(command, f"fit --model.lr 9 --trainer.max_epochs 3 {saves} {last}")
    assert len(list(Path("logs").rglob("*.ckpt"))) == 2
    said(command, "test --ckpt_path best")
    assert "ckpt_path: logs/version_0/checkpoints/epoch=" in (
        Path("logs/version_1/config.yaml").read_text()
    )


def test_a_table_of_a_project_is_split_tested_and_predicted_as_ours(
    tables: Command, said: Callable[..., str], houses: Path
) -> None:
    said(tables, "fit --trainer.max_epochs 100 --data.val_fraction 0.2 --model.lr 0.1")
    answer = json.loads(Path("logs/version_0/coefficients.json").read_text())
    assert answer["model"] == "PriceLine"
    slopes = {row["name"]: row["estimate"] for row in answer["coefficients"]}
    assert slopes["sqft"] == pytest.approx(150, rel=0.01)
    assert "sqft" in said(tables, "summary")
    assert "test_r2" in said(tables, "validate -c logs/version_0").replace("val_r2", "test_r2")
    Path("new.csv").write_text("sqft,beds,age\n1000,2,10\n")
    text = said(tables, "predict --ckpt_path last --data.path new.csv --keep beds")
    beds, price = Path(text.split()[-1]).read_text().splitlines()[1].split(",")
    assert (beds, float(price)) == ("2", pytest.approx(215000, rel=0.01))
    text = said(tables, "fit -c logs/version_0 --trainer.max_epochs 1")  # without its design
    assert "houses: warning: the fit has not converged" in text
    for change in ("", " --change"):
        text = said(tables, f"fit --ckpt_path last --data.missing drop{change}", 1)
        assert "--data.missing: drop was given" in text
        assert "type --change" not in text
    text = said(tables, "test --ckpt_path logs/version_0 --data.test_fraction 1", 1)
    assert "--ckpt_path" in text


def test_names_of_settings_and_classes_are_those_of_the_project(
    command: Command, said: Callable[..., str]
) -> None:
    said(command, "fit -c base -c debug")
    config = Path("logs/version_0/config.yaml").read_text()
    assert "class_path: my_project.model.WideNetwork" in config
    assert "width: 8" in config
    assert "limit_train_batches: 2" in config
    said(command, "fit -c debug --model DeepNetwork")
    config = Path("logs/version_1/config.yaml").read_text()
    assert "class_path: my_project.deep.DeepNetwork" in config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nope", "nope: there is no such command; type fit, validate, test or predict"),
        ("fit nope", "or another command: fit, validate, test or predict"),
        ("fit -c tutorial", "type a file, or one of base, debug, gpu"),
        ("fit --nope 1", "type my-project fit --help to list the options"),
        ("fit --model Nope", "no class Nope; type one of my-project --help, or package.Class"),
        ("fit --model my_project.model.Nope", "there is no class my_project.model.Nope ("),
        ("fit --model my_project.model.OpenModel", "--model: OpenModel is abstract"),
        ("fit --model.lr fast", "--model.lr: fast was given; type a number"),
        ("fit --model.nope 1", "--model.help SignNetwork lists those it has"),
        ("fit --model WideNetwork --model.depth 1", "--model.help WideNetwork lists those it has"),
        (
            "fit --model LeastSquares --model.lr 1",
            "lr, SignNetwork has; type --model SignNetwork in front",
        ),
        (
            "fit --data.path a.csv",
            "SignData has no option path, PriceTable has; type --data PriceTable",
        ),
        ("fit --ckpt_path last", "fit a model first (my-project fit)"),
        (
            "fit --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val_nope",
            "there is no metric val_nope; the metrics are train_loss, val_loss",
        ),
        ("test", "--ckpt_path last for the newest"),
        ("fit --model RowNetwork", "--model and --data: both have the argument rows, of different"),
        ("fit --model SignNumber", "row_loss: y of (8,) was compared with a prediction of (8, 1)"),
    ],
)
def test_bad_words_are_refused_in_the_names_of_the_project(
    words: str, message: str, command: Command, said: Callable[..., str]
) -> None:
    status = 2 if words.split()[0] != "test" else 1
    status = 1 if re.search("-c |_path last|monitor|RowNet|SignNum|gpu", words) else status
    text = said(command, words, status).strip().splitlines()[-1]
    assert text.startswith("my-project: error: ")
    assert message in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "my_project.model.Nope"}, "model: there is no class my_project.model.Nope"),
        ({"data": "my_project.nope.Data"}, "data: there is no class my_project.nope.Data"),
        ({"model": "..model.SignNetwork"}, "model: there is no class ..model.SignNetwork"),
        ({"model": "my_project.data.SignData"}, "SignData is no LightningModule; name another"),
        ({"callbacks": ["Printer"]}, "callbacks: there is no class Printer"),
        ({"callbacks": ["my_project.model.WideNetwork"]}, "WideNetwork is no Callback"),
        ({"callbacks": "my_project.model.Printer"}, "Printer' was given; give a list"),
        ({"name": "my project"}, "name: 'my project' was given; give the one word to type"),
        ({"models": ["my_project.model.Nope"]}, "models: there is no class my_project.model.Nope"),
        ({"table": "my_project.data.Nope"}, "table: there is no class my_project.data.Nope"),
        ({"trainer": {"max_epoch": 3}}, "the Trainer has no argument max_epoch"),
        ({"table_options": {"trainer.epochs": 3}}, "the Trainer has no argument epochs"),
    ],
)
def test_a_command_that_names_nothing_is_refused(
    arguments: dict[str, Any], message: str, project: Path
) -> None:
    named = {
        "name": "wrong",
        "model": "my_project.model.SignNetwork",
        "data": "my_project.data.SignData",
        **arguments,
    }
    with pytest.raises(InputError, match=message):
        Command(about="Nothing.", **named).fit()


def test_options_of_a_fit_may_hold_paths_and_numbers_of_numpy() -> None:
    options = {"data.path": [Path("a.csv")], "model": {"lr": np.float32(0.5), "n": np.arange(2)}}
    words = option_words(options)
    assert words == ['--data.path=["a.csv"]', '--model={"lr": 0.5, "n": [0, 1]}']
    with pytest.raises(InputError, match="options: a list was given; give a dict"):
        option_words([("model.lr", 0.1)])


def test_a_module_of_the_project_that_fails_shows_where(project: Path) -> None:
    command = Command("broken", "Nothing.", "my_project.broken.Net", "my_project.data.SignData")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        command.main(["fit"])


def test_another_optimizer_is_an_option(command: Command, said: Callable[..., str]) -> None:
    said(command, "fit --optimizer SGD --optimizer.lr 0 --trainer.max_epochs 1")
    (path,) = Path("logs/version_0").glob("**/*.ckpt")
    settings = torch.load(path, weights_only=True)
    assert settings["optimizer_settings"]["optimizer"]["class_path"] == "torch.optim.SGD"
    assert settings["hyper_parameters"]["lr"] == 0


# Several commands


def test_commands_of_one_process_keep_their_names_apart(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for main, name in ((cli.main, "linreg"), (command.main, "my-project"), (cli.main, "linreg")):
        with pytest.raises(SystemExit):
            main(["fit", "--nope"])
        assert capsys.readouterr().err.startswith(f"{name}: error: ")
        assert PROGRAM.get() == "linreg"


def test_an_option_that_a_subclass_passes_on_is_named_in_full(
    tables: Command, houses: Path
) -> None:
    with pytest.raises(InputError, match=r"^--data\.batch_size: 0 was given"):
        tables.fit({**FIT, "data.path": str(houses), "data.batch_size": 0})


def test_threads_of_a_run_know_the_name_of_its_command() -> None:
    names: queue.Queue[str] = queue.Queue()
    token = PROGRAM.set("my-project")
    peer_monitor._start_thread(lambda: names.put(PROGRAM.get()))
    assert next(prefetch(PROGRAM.get() for _ in range(1))) == "my-project"
    PROGRAM.reset(token)
    assert names.get(timeout=5) == "my-project"


# Fits of a script


def test_fit_returns_the_metrics_of_its_run(command: Command) -> None:
    losses = {lr: command.fit({**FIT, "model.lr": lr})["val_loss"] for lr in (0.001, 0.1)}
    from my_project.data import SignData
    from my_project.model import SignNetwork

    x, y = SignData().rows()
    for run_number, loss in enumerate(losses.values()):
        model = SignNetwork()
        model.load_state_dict(state(run_number))
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(model(x), y).item()
        assert loss == pytest.approx(expected, rel=1e-6)
    assert losses[0.1] < losses[0.001]


def test_fit_takes_values_of_each_kind(tables: Command, houses: Path) -> None:
    metrics = tables.fit(
        {**FIT, "data.path": houses, "data.features": ["sqft", "age"], "data.val_fraction": 0.5}
        | {"data.weight": None, "config": "debug", "trust": True, "change": False}
    )
    assert isinstance(metrics["val_loss"], float)
    assert "beds" not in Path("logs/version_0/coefficients.json").read_text()
    config = Path("logs/version_0/config.yaml").read_text()
    assert "devices: 1" in config
    assert "trust: true" in config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.lr": "fast"}, "--model.lr: fast was given; type a number"),
        ({"--model.lr": 1}, "options: --model.lr was given; give the long name without its dashes"),
        ({"model.nope": 1}, "--model: SignNetwork has no option nope"),
        ({"trainer.max_epochs": 0}, "no batch was trained on"),
        ({"ckpt_path": "nowhere.ckpt"}, "there is no file nowhere.ckpt"),
        ({"trainer.devices": 2}, "--trainer.devices: 2 was given, and each device would run"),
        ({"model.help": "SignNetwork"}, "has printed a text instead of fitting"),
        ({"change": True}, "--change: it was given without a checkpoint"),
    ],
)
def test_fit_raises_what_cannot_work_and_the_process_goes_on(
    options: dict[str, Any], message: str, command: Command
) -> None:
    handler, stdout, path = signal.getsignal(signal.SIGINT), sys.stdout, list(sys.path)
    with pytest.raises(InputError, match=re.escape(message)):
        command.fit({**FIT, **options})
    assert (signal.getsignal(signal.SIGINT), sys.stdout, sys.path) == (handler, stdout, path)
    assert PROGRAM.get() == "linreg"


@pytest.mark.parametrize(
    ("stop", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (SIGTERMException, SystemExit)]
)
def test_signals_end_a_script_of_fits(
    stop: type[BaseException],
    seen: type[BaseException],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: Any) -> None:
        raise stop

    monkeypatch.setattr(run, "TrainerCLI", stopped)
    with pytest.raises(seen) as raised:
        command.fit()
    assert getattr(raised.value, "code", 143) == 143
