"""`--optimizer` and `--lr_scheduler` of the command, for our models and others'."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import estimates, least_squares
from torch import nn

from linreg_lightning import SyntheticData
from linreg_lightning.tight_loop.step_group import StepGroup

Command = Callable[..., dict[str, Any]]


def newest_checkpoint() -> dict[str, Any]:
    files = sorted(Path().glob("**/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    return dict(torch.load(files[-1], weights_only=True))


def newest(name: str) -> dict[str, Any]:
    files = sorted(Path().glob(f"**/{name}"), key=lambda file: file.stat().st_mtime_ns)
    return dict(yaml.safe_load(files[-1].read_text()))


def by_hand(epochs: int, lr: float) -> torch.Tensor:
    """Return weights after Adam with a cosine schedule, from the model's own start, in a loop."""
    data = SyntheticData()
    data.setup("fit")
    x, y, _ = data.splits["train"]
    torch.manual_seed(0)
    layer = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.Adam(layer.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.mse_loss(layer(x), y).backward()
        optimizer.step()
        schedule.step()
    return layer.weight.detach().flatten().double()


def test_adam_with_a_cosine_schedule_equals_a_loop_and_resumes(
    command: Command, refused: Callable[..., str]
) -> None:
    chosen = "--optimizer Adam --lr_scheduler CosineAnnealingLR --lr_scheduler.T_max 12"
    command("fit --trainer.max_epochs 5", chosen)
    saved = newest_checkpoint()
    assert saved["optimizer_settings"]["optimizer"]["class_path"] == "torch.optim.Adam"
    assert saved["optimizer_settings"]["lr_scheduler"]["init_args"]["T_max"] == 12
    assert saved["hyper_parameters"]["lr"] == 0.1
    logged = newest("hparams.yaml")
    assert (logged["optimizer"], logged["lr_scheduler"]) == ("Adam", "CosineAnnealingLR")
    assert newest("config.yaml")["optimizer"]["class_path"] == "torch.optim.Adam"
    for words in ("--optimizer SGD", "--lr_scheduler.T_max 13", "--lr_scheduler null"):
        message = refused("fit --ckpt_path last --trainer.max_epochs 10", words)
        assert message.startswith(f"linreg: error: {words.split('.')[0].split()[0]}: ")
        assert "leave it out, or start anew" in message
    answer = command("fit --ckpt_path last --trainer.max_epochs 10")
    values = torch.tensor(list(estimates(answer).values()), dtype=torch.float64)
    torch.testing.assert_close(values, by_hand(10, 0.1), rtol=1e-5, atol=1e-6)


def test_the_lr_of_the_optimizer_is_the_lr_of_the_model(
    command: Command, refused: Callable[..., str]
) -> None:
    # 0.001 is the default of Adam, which differs from that of the model.
    answer = command("fit --trainer.max_epochs 2 --optimizer Adam --optimizer.lr 0.001")
    assert newest_checkpoint()["hyper_parameters"]["lr"] == newest("hparams.yaml")["lr"] == 0.001
    again = command("fit --trainer.max_epochs 2 --optimizer Adam --model.lr 0.001")
    assert estimates(again) == estimates(answer)
    from_config = Path("logs/version_0/config.yaml").rename("chosen.yaml")
    assert estimates(command(f"fit -c {from_config}")) == estimates(answer)
    message = refused("fit --optimizer Adam --optimizer.lr 0.5 --model.lr 0.1")
    assert "--optimizer.lr: 0.5 was given, and --model.lr 0.1; leave one out" in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--optimizer Nope", "--optimizer: there is no class Nope"),
        ("--optimizer Adam --optimizer.eps -1", "--optimizer: Adam: Invalid epsilon value"),
        ("--lr_scheduler CosineAnnealingLR", "CosineAnnealingLR needs --lr_scheduler.T_max"),
        ("--model LeastSquares --optimizer Adam", "--optimizer: LeastSquares was given"),
        ("--model ManualLinearRegression --lr_scheduler StepLR --lr_scheduler.step_size 1", "no"),
        ("--optimizer Adam --model.momentum 0.9", "--model.momentum: 0.9 was given, but"),
    ],
)
def test_contradicting_optimizer_settings_are_refused(
    words: str, expected: str, refused: Callable[..., str]
) -> None:
    assert expected in refused("fit", words)


@pytest.mark.parametrize(
    "words",
    [
        "--optimizer LBFGS --optimizer.lr 1 --trainer.max_epochs 3",
        "--optimizer Adam --data.batch_size 10 --trainer.max_epochs 4 --lr_scheduler "
        "ReduceLROnPlateau --lr_scheduler.monitor train_loss --lr_scheduler.patience 0",
        "--data.batch_size 10 --trainer.max_epochs 4 --lr_scheduler StepLR "
        "--lr_scheduler.step_size 1 --lr_scheduler.gamma 0.5",
    ],
)
def test_the_tight_loop_changes_no_weight(
    words: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    take = StepGroup.take

    def record(self: StepGroup, fetcher: Any, count: int) -> None:
        groups.append(count)
        take(self, fetcher, count)

    monkeypatch.setattr(StepGroup, "take", record)
    fits, schedules = [], []
    for steps in ("1", "4"):
        tight = f"--trainer.callbacks+=TightLoop --trainer.callbacks.steps={steps}"
        answer = command("fit --data.rows 100", tight, words)
        saved = newest_checkpoint()
        fits.append((estimates(answer), saved["optimizer_states"][0]["state"]))
        schedules.append(saved["lr_schedulers"])
    torch.testing.assert_close(fits[0], fits[1], rtol=0, atol=0)
    assert schedules[0] == schedules[1]
    assert bool(groups) == ("batch_size" in words)
    if "LBFGS" in words:
        data = SyntheticData()
        data.setup("fit")
        x, y, _ = data.splits["train"]
        values = torch.tensor(list(fits[0][0].values()), dtype=torch.float64)
        torch.testing.assert_close(values, least_squares(x, y).flatten(), rtol=0, atol=1e-4)


def test_a_model_from_outside_takes_an_optimizer(command: Command) -> None:
    model = "--model third_party.plain.CubicModel --data third_party.plain.CubicData"
    command("fit --trainer.max_epochs 2", model, "--optimizer SGD --optimizer.momentum 0.5")
    (group,) = newest_checkpoint()["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["momentum"]) == (0.05, 0.5)  # the rate is the model's default


def test_a_checkpoint_may_not_name_an_optimizer_of_an_unknown_module(
    command: Command, refused: Callable[..., str]
) -> None:
    Path("strange.py").write_text("raise SystemExit('imported')")
    command("fit --trainer.max_epochs 1 --optimizer Adam")
    (file,) = Path().glob("**/*.ckpt")
    content = torch.load(file, weights_only=True)
    content["optimizer_settings"]["optimizer"]["class_path"] = "strange.Adam"
    torch.save(content, "changed.ckpt")
    message = refused("fit --ckpt_path changed.ckpt --trainer.max_epochs 3")
    assert "names the class strange.Adam, and opening it would run the code" in message
