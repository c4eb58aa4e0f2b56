"""Replayed steps leave everything as steps that Python takes."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from tape import Tape
from third_party.replayed import (
    Appends,
    AtEachStep,
    Averages,
    Changes,
    Counts,
    Exchanges,
    Measures,
    Mixes,
    Numbers,
    Penalised,
    Plain,
    Replaces,
    Sharpness,
    Slows,
    Stepwise,
    Thaws,
    Waits,
    Watched,
)
from third_party.small import MakeTrainer, Recorder, Talkative, assert_same, fitted, rows
from torch import Tensor
from torch.utils.data import DataLoader

from linreg_lightning import LinearRegression, SyntheticData, TensorData, TightLoop
from linreg_lightning.hook_markers import per_step
from linreg_lightning.tight_loop import captured_step
from linreg_lightning.tight_loop.cuda_graph import CudaGraph
from linreg_lightning.tight_loop.python_state import python_state, same


@pytest.fixture(params=["tape", *(["gpu"] if torch.cuda.is_available() else [])])
def accelerator(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where recordings are played: on a GPU if there is one, and on a processor.

    On a GPU libraries may choose other kernels for rows that lie elsewhere.
    """
    monkeypatch.setattr(captured_step, "WORTH", 6)
    Tape.recordings.clear()
    if request.param == "tape":
        monkeypatch.setattr(captured_step, "CudaGraph", Tape)
        yield "cpu"
    else:
        record, replay = CudaGraph.record, CudaGraph.replay

        def recorded(graph: CudaGraph, function: Any) -> Any:
            value = record(graph, function)
            Tape.recordings.append(0)
            return value

        def replayed(graph: CudaGraph) -> None:
            Tape.recordings[-1] += 1
            replay(graph)

        monkeypatch.setattr(CudaGraph, "record", recorded)
        monkeypatch.setattr(CudaGraph, "replay", replayed)
        yield "gpu"


@pytest.mark.parametrize("steps", [5, 1000])
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Plain, {}),
        (Plain, {"max_steps": 37, "max_epochs": -1}),
        (Plain, {"val_check_interval": 7, "log_every_n_steps": 1}),
        (Plain, {"precision": "64-true"}),
        (Plain, {"precision": "bf16-mixed"}),
        (Stepwise, {"gradient_clip_val": 0.1}),
        (Stepwise, {"limit_val_batches": 0, "logger": False}),
        (Averages, {}),
        (Averages, {"log_every_n_steps": 1}),
        (Penalised, {"log_every_n_steps": 1}),
        (Sharpness, {}),
        (Thaws, {}),
        (Changes, {"val_check_interval": 12}),
    ],
)
def test_nothing_differs_bit_for_bit(
    model: type, options: dict, steps: int, accelerator: str, trainer: MakeTrainer
) -> None:
    options = {**options, "accelerator": accelerator}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="capture")
        with_, runner = fitted(model, trainer, [TightLoop(steps, capture=True)], [], **options)
    epochs = runner.current_epoch + 1
    assert 0 < len(Tape.recordings) <= (2 * epochs if model is Changes else epochs)
    assert min(Tape.recordings) > 0
    without, _ = fitted(model, trainer, [], [], **options)
    assert_same(with_, without, exactly=accelerator == "cpu")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Numbers, "logs a number"),
        (Waits, "waits for the GPU"),
        (Counts, "changes attributes"),
        (Measures, "changes attributes"),
        (Exchanges, "changes attributes"),
        (Replaces, "changes attributes"),
        (Appends, "changes attributes"),
        (Slows, "changes attributes"),
        (Mixes, "random numbers"),
        (Talkative, "waits for the GPU"),
    ],
)
def test_a_step_that_cannot_be_replayed_is_taken(
    model: type, why: str, accelerator: str, trainer: MakeTrainer
) -> None:
    options = {"accelerator": accelerator}
    with pytest.warns(UserWarning, match=f"capture: a step of {model.__name__} .*({why})"):
        with_, _ = fitted(model, trainer, [TightLoop(5, capture=True)], [], **options)
    assert not any(Tape.recordings)
    without, _ = fitted(model, trainer, [], [], **options)
    assert_same(with_, without, exactly=accelerator == "cpu")


class Gradients(Callback):
    @per_step
    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        pass


class Losses(Callback):
    """Keeps losses and gradients."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    @per_step
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append(outputs["loss"])
        self.seen.append(pl_module.net[0].weight.grad.sum())


def test_who_looks_into_a_step_finds_it_taken(accelerator: str, trainer: MakeTrainer) -> None:
    for model, callbacks in ((AtEachStep, []), (Watched, []), (Plain, [Gradients()])):
        tight = [TightLoop(1000, capture=True)]
        fitted(model, trainer, tight, callbacks, accelerator=accelerator)
        assert not Tape.recordings


def test_outputs_that_somebody_keeps_are_each_step_s_own(
    accelerator: str, trainer: MakeTrainer
) -> None:
    seen = []
    for tight in ([TightLoop(5, capture=True)], [TightLoop(5)], []):
        losses = Losses()
        fitted(Plain, trainer, tight, [losses], accelerator=accelerator)
        seen.append([loss.item() for loss in losses.seen])
    assert Tape.recordings
    assert_same(seen[0], seen[1], exactly=accelerator == "cpu")
    assert seen[1] == seen[2]
    assert len(set(seen[0])) == len(seen[0])


def test_batches_of_other_shapes_are_taken(accelerator: str, trainer: MakeTrainer) -> None:
    class Uneven:
        def __len__(self) -> int:
            return 30

        def __iter__(self) -> Iterator[Any]:
            batches = list(DataLoader(rows(), batch_size=6))[:15]
            for x, y in batches:
                yield x, y
                yield x[:5], y[:5]

    weights = []
    for tight in ([TightLoop(1000, capture=True)], []):
        torch.manual_seed(0)
        model = Plain()
        runner = trainer(
            max_epochs=3,
            callbacks=tight,
            accelerator=accelerator,
            logger=Recorder(),
            log_every_n_steps=7,
        )
        runner.fit(model, Uneven())
        weights.append([model.state_dict(), runner.logger.rows])
    # Three steps come first, and an epoch's last; then those of one of the shapes are replayed.
    assert Tape.recordings
    assert_same(weights[0], weights[1], exactly=accelerator == "cpu")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_our_models_can_be_replayed(
    momentum: float, accelerator: str, trainer: MakeTrainer
) -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([[1.0], [2.0], [3.0]])
    found = []
    for data in (
        TensorData(x, y, batch_size=10, seed=1),
        TensorData(x, y, batch_size=10, seed=1, weight=torch.arange(400) % 3 + 0.5),
        SyntheticData(rows=400, batch_size=10),
    ):
        for capture in (True, False):
            torch.manual_seed(0)
            model = LinearRegression(momentum=momentum, lr=0.05)
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="capture")
                trainer(
                    max_epochs=5,
                    callbacks=[TightLoop(1000, capture=capture)],
                    accelerator=accelerator,
                ).fit(model, data)
            found.append((model.coefficients(), model.fit_statistics))
    assert len(Tape.recordings) == 3 * 5
    for captured, taken in zip(found[::2], found[1::2], strict=True):
        assert_same(captured, taken, exactly=accelerator == "cpu")


def test_what_a_gpu_reads_of_the_processor_is_watched(trainer: MakeTrainer) -> None:
    class Weighs(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.share = torch.tensor(0.5)
            with torch.inference_mode():
                self.seen = torch.ones(2)

    model = Weighs()
    runner = trainer(max_epochs=1)
    runner.fit(model, DataLoader(rows(), batch_size=6))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    before = {device: python_state(runner, device) for device in (gpu, cpu)}
    assert same(before[gpu], python_state(runner, gpu))
    model.share *= 0.99
    assert not same(before[gpu], python_state(runner, gpu))
    assert same(before[cpu], python_state(runner, cpu))  # there a replay reads it
