"""Fits on a given number of processes; the script uses two processes, for command lines too."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from linreg_lightning import (
    InputError,
    LeastSquares,
    LinearRegression,
    RegularizedLeastSquares,
    StandardizedModule,
    TensorData,
    TightLoop,
    cli,
)

try:
    from third_party.tasks import Classifier, Trees
except ModuleNotFoundError:  # run as a script
    from tasks import Classifier, Trees


def problem(seed: int, rows: int, columns: int, weighted: bool) -> tuple[torch.Tensor, ...]:
    """Return rows whose columns differ in scale and offset; the last two columns are similar."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(rows, columns)
    x[:, -1] = x[:, -2] + 10.0 ** -(seed % 7) * x[:, -1]
    y = x.sum(dim=1) + normal(rows)
    x = (x + normal(columns)) * 10.0 ** (10 * normal(columns)).round()
    weight = torch.rand(rows, generator=generator, dtype=torch.float64)
    return (x, y, weight * (weight > 0.1)) if weighted else (x, y)


# accuracy, seed, rows, columns, weighted, batch size
CASES: dict[str, tuple[str, int, int, int, bool, int | None]] = {
    "exact": ("exact", 1, 101, 3, False, 7),
    "exact, all rows at once": ("exact", 9, 64, 5, False, None),
    "exact, weighted": ("exact", 3, 333, 2, True, 10),
    "exact, many blocks": ("exact", 4, 40_001, 12, True, 9_000),
    "auto, few rows": ("auto", 5, 200, 4, True, 16),
    "auto, in two passes": ("auto", 6, 400_000, 3, False, 50_000),
    "auto, in one pass": ("auto", 7, 400_000, 3, False, 50_000),
}
SELECTIONS: dict[str, Any] = {"exact, weighted": "lasso", "auto, in two passes": "ridge"}


class AllRows(IterableDataset[tuple[torch.Tensor, ...]]):
    """Gives all rows to each process, as if the user had forgotten to divide them."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        x, y = problem(1, 101, 3, False)
        yield from zip(x, y.unsqueeze(1), strict=True)


# Batch sizes of torch's DataLoader. Lightning gives 51 of 101 rows to each of two processes, so one
# row comes twice: in a last batch with others, or alone.
LOADERS = {"one row repeated": 7, "a batch of one repeated row": 10}


def fits(devices: int) -> dict[str, Any]:
    """Map each case to its coefficients, fit statistics and number of passes."""
    answers = {}
    for name, (accuracy, seed, rows, columns, weighted, batch_size) in CASES.items():
        data = TensorData(*problem(seed, rows, columns, weighted), batch_size=batch_size)
        answers[name] = fit(devices, LeastSquares(accuracy), data)
    x, y = problem(1, 101, 3, False)
    for name, batch_size in LOADERS.items():
        loader = DataLoader(TensorDataset(x, y.unsqueeze(1)), batch_size, shuffle=True)
        answers[name] = fit(devices, LeastSquares(in_features=3), loader)
    return answers


def selections(devices: int) -> dict[str, Any]:
    """Return what a penalised fit finds, exactly and in two passes."""
    answers = {}
    for name, penalty in SELECTIONS.items():
        accuracy, seed, rows, columns, weighted, batch_size = CASES[name]
        data = TensorData(*problem(seed, rows, columns, weighted), batch_size=batch_size)
        model = RegularizedLeastSquares(penalty, None, [1e-3, 1e-9], folds=4, accuracy=accuracy)
        answers[name] = fit(devices, model, data)
        assert model.selection
        answers[name]["errors"] = model.selection.fold_errors.tolist()
    return answers


def robust_fits(devices: int) -> dict[str, Any]:
    """Return what fits with robust errors and absorbed effects find, each in several passes."""
    x, y, weight = problem(3, 333, 2, True)
    cluster, user = torch.arange(333) % 9, torch.arange(333) // 5
    answers = {}
    for errors, keys in (
        ("HC3", {}),
        ("cluster", {"cluster": [cluster, user]}),
        ("cluster", {"cluster": cluster, "absorb": [cluster, user]}),
    ):
        data = TensorData(x, y, weight, batch_size=20, **keys)
        answers[", ".join([errors, *keys])] = fit(
            devices, LeastSquares("exact", errors=errors), data
        )
    return answers


def fit(devices: int, model: LeastSquares | RegularizedLeastSquares, data: Any) -> dict[str, Any]:
    trainer = make_trainer(devices)
    trainer.fit(model, data)
    return {
        "coefficients": model.coefficients(),
        "fit": model.fit_statistics,
        "passes": trainer.current_epoch,
    }


def make_trainer(devices: int, max_epochs: int = 1, **options: Any) -> Trainer:
    return Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


LR, EPOCHS, BATCH_SIZE = 0.1, 10, 7


def descents() -> dict[str, Any]:
    """Return what two processes find by SGD on 101 rows with weights, and how they did it."""
    answers: dict[str, Any] = {}
    for name, callbacks in {"the Trainer": [], "groups": [TightLoop(steps=4)]}.items():
        torch.manual_seed(0)
        model = LinearRegression(LR, in_features=3)
        first = [parameter.tolist() for parameter in model.parameters()]
        calls = count_calls("all_reduce", "barrier", "broadcast", "_broadcast_coalesced")
        trainer = make_trainer(2, EPOCHS, callbacks=callbacks)
        x, y, weight = descent_rows()
        trainer.fit(model, TensorData(x, y, weight, batch_size=BATCH_SIZE, shuffle=False))
        answers[name] = {
            "first": first,
            "last": [parameter.tolist() for parameter in model.parameters()],
            "train_loss": trainer.callback_metrics["train_loss"].item(),
            "steps": trainer.global_step,
            "calls": len(calls),
        }
    answers["broadcasts"] = [broadcasts_buffers(kind(in_features=3)) for kind in (Averages, Other)]
    return answers


def descent_rows() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(101, columns, generator=generator) for columns in (3, 1))
    return x, x.sum(dim=1, keepdim=True) + noise, torch.rand(101, generator=generator)


def count_calls(*names: str) -> list[str]:
    """Return a list to which each call of these functions of torch.distributed adds its name."""
    calls: list[str] = []

    def counting(name: str, function: Any) -> Any:
        function = getattr(function, "counted", function)

        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return function(*args, **options)

        call.counted = function
        return call

    for name in names:
        setattr(torch.distributed, name, counting(name, getattr(torch.distributed, name)))
    return calls


class Other(StandardizedModule):
    """A model of a user, with no buffers but those of its base class."""

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 1)

    def build(self, in_features: int, out_features: int) -> None:
        super().build(in_features, out_features)
        self.layer: nn.Module = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.scale_loss(nn.functional.mse_loss(self(batch.x), batch.y), batch.rows)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), LR)


class Averages(Other):
    """A model of a user whose steps change a buffer."""

    def build(self, in_features: int, out_features: int) -> None:
        super().build(in_features, out_features)
        self.layer = nn.Sequential(nn.BatchNorm1d(in_features), self.layer)


def broadcasts_buffers(model: LightningModule) -> bool:
    """Whether DDP sends the buffers of the first process to the others at each step."""
    found = []
    wrapped = model.training_step

    def training_step(*args: Any) -> Any:
        found.append(model.trainer.strategy.model.broadcast_buffers)
        return wrapped(*args)

    model.training_step = training_step
    make_trainer(2).fit(model, TensorData(*descent_rows()[:2]))
    return bool(found[0])


def tasks() -> list[dict[str, Any]]:
    """Return what two processes find for classes, whose rows they cannot share evenly."""
    answers: list[dict[str, Any]] = []
    for callbacks in ([], [TightLoop(steps=4)]):
        torch.manual_seed(0)
        model, data = Classifier(), Trees(batch_size=10, shuffle=False)
        make_trainer(2, 0).fit(model, data)  # makes the layers
        first = {name: value.tolist() for name, value in model.layers.state_dict().items()}
        trainer = make_trainer(2, 3, callbacks=callbacks)
        trainer.fit(model, data)
        logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
        last = [parameter.tolist() for parameter in model.parameters()]
        (tested,) = trainer.test(model, data, verbose=False)
        answers.append({"first": first, "last": last, "fit": model.fit_statistics})
        answers[-1] |= logged | tested
    return answers


def refusals() -> list[str]:
    """Return why two processes refuse a loader of all rows for each, and one without folds."""
    answers = []
    for model in (LeastSquares(in_features=3), RegularizedLeastSquares(in_features=3)):
        try:
            fit(2, model, DataLoader(AllRows(), 10))
        except InputError as error:
            answers.append(str(error))
    return answers


def run(*lines: str) -> None:
    """Run command lines, whose errors both processes write to a file of their own."""
    send_errors_to("command_errors.txt")
    for line in lines:
        cli.main(line.split())
    send_errors_to("fit_errors.txt")


def send_errors_to(path: str) -> None:
    sys.stderr.flush()
    with Path(path).open("a") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())


if __name__ == "__main__":
    *lines, failing = sys.argv[1:]
    run(*lines)
    answers = {"descents": descents(), "tasks": tasks(), **fits(2)}
    answers["robust"] = robust_fits(2)
    text = json.dumps(answers | {"selections": selections(2), "refusals": refusals()})
    if os.environ["LOCAL_RANK"] == "0":
        Path("answers.json").write_text(text)
    run(failing)
