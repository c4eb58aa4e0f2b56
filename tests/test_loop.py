"""A tight loop leaves everything as the Trainer alone would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchmetrics import MeanMetric

from linreg_lightning import (
    InputError,
    LinearRegression,
    ManualLinearRegression,
    SyntheticData,
    TightLoop,
)
from linreg_lightning.loop import each_step, once_a_call
from linreg_lightning.loop.steps import Steps

MakeTrainer = Callable[..., Trainer]
BATCHES = 23


class Recorder(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    name = "recorder"
    version = 0

    def log_hyperparams(self, *_: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, dict(metrics)))


class Small(LightningModule):
    """A network from outside the package, which knows nothing of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 1))
        self.seen: list[tuple[int, int, int]] = []

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.seen.append((self.global_step, batch_idx, len(batch[0])))
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)


class Scheduled(Small):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=200)
        return [optimizer], [{"scheduler": schedule, "interval": "step", "frequency": 2}]


class Plateau(Small):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        settings = {"scheduler": schedule, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": settings}


class Talkative(Small):
    """Logs in all the ways there are."""

    def __init__(self) -> None:
        super().__init__()
        self.running = torch.zeros(())
        self.mean = MeanMetric()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.running += loss.detach()
        self.mean(loss.detach())
        if batch_idx % 4 == 1:
            self.log("now_and_then", self.running)
        if self.global_step > 30:
            self.log("both", loss, on_step=True, on_epoch=True)
            self.log("metric", self.mean, on_step=False, on_epoch=True)
        self.log("number", float(batch_idx))
        self.log("hidden", loss, logger=False)
        return {"loss": loss, "extra": batch_idx}


class LineSearch(Small):
    """Calls its closure several times a step."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Skips(Small):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return None if batch_idx == 5 else super().training_step(batch, batch_idx)


class ByHand(Small):
    """Manual optimisation, without the batch's number."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor]) -> Any:
        optimizer = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.log("train_loss", loss)
        return loss


class TwiceByHand(ByHand):
    """Takes two steps a batch, from the second batch on."""

    def training_step(self, batch: list[Tensor]) -> Any:
        if self.global_step:
            super().training_step(batch)
        return super().training_step(batch)


def rows() -> TensorDataset:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(8 * BATCHES - 3, 3, generator=generator)
    return TensorDataset(x, x.sum(dim=1, keepdim=True).sin())


def loaders() -> list[DataLoader]:
    return [DataLoader(rows(), batch_size=8, shuffle=True), DataLoader(rows(), batch_size=64)]


def fitted(
    model: type[LightningModule],
    trainer: MakeTrainer,
    tight: list[Callback],
    callbacks: list[Callback],
    ckpt_path: Path | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Trainer]:
    """What is left behind by a fit."""
    torch.manual_seed(1)
    logger, module = Recorder(), model()
    settings = {"max_epochs": 3, "log_every_n_steps": 5, "logger": logger, **options}
    runner = trainer(callbacks=[*callbacks, *tight], **settings)
    runner.fit(module, *loaders(), ckpt_path=ckpt_path)
    left = {
        "weights": module.state_dict(),
        "optimizer": runner.optimizers[0].state_dict(),
        "rates": [each.scheduler.state_dict() for each in runner.lr_scheduler_configs],
        "metrics": dict(runner.callback_metrics),
        "logged": sorted(logger.rows, key=lambda row: (row[0], sorted(row[1]))),
        "loops": runner.fit_loop.state_dict(),
        "seen": getattr(module, "seen", None),
        "random": torch.get_rng_state(),
        "step": runner.global_step,
    }
    for rate in left["rates"]:
        rate.pop("_last_lr", None)
    return left, runner


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other or (one != one and other != other)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps the loop has taken at a time."""
    taken: list[int] = []
    take = Steps.take

    def counting(self: Steps, count: int) -> None:
        taken.append(count)
        take(self, count)

    monkeypatch.setattr(Steps, "take", counting)
    return taken


TIGHT = [
    (Small, {}),
    (Small, {"max_steps": 37, "max_epochs": -1}),
    (Small, {"val_check_interval": 7, "log_every_n_steps": 1}),
    (Small, {"val_check_interval": 9, "check_val_every_n_epoch": None, "limit_train_batches": 20}),
    (Small, {"limit_val_batches": 0, "logger": False}),
    (Small, {"precision": "bf16-mixed"}),
    (Small, {"precision": "64-true"}),
    (Scheduled, {"gradient_clip_val": 0.1}),
    (Scheduled, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
    (Plateau, {"max_epochs": 8}),
    (Talkative, {}),
    (Talkative, {"log_every_n_steps": 1}),
    (LineSearch, {}),
    (Skips, {}),
    (ByHand, {"max_steps": 30}),
]


@pytest.mark.parametrize("steps", [4, 1000])
@pytest.mark.parametrize(("model", "options"), TIGHT)
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*returned `None`")
def test_nothing_differs_bit_for_bit(
    model: type, options: dict, steps: int, trainer: MakeTrainer, alone: list[int]
) -> None:
    if options.get("logger") is False:
        watch: list[Callback] = []
    else:
        watch = [LearningRateMonitor()]
    with_loop, _ = fitted(model, trainer, [TightLoop(steps)], watch, **options)
    assert alone
    assert max(alone) <= steps
    without, _ = fitted(model, trainer, [], watch, **options)
    assert_same(with_loop, without)


@pytest.mark.parametrize("every", [6, 10])
def test_checkpoints_are_written_where_they_would_be_and_resume(
    every: int, trainer: MakeTrainer, tmp_path: Path, alone: list[int]
) -> None:
    saved = []
    for name, tight in (("with", [TightLoop(8)]), ("without", [])):
        checkpoint = ModelCheckpoint(
            tmp_path / name, "{step}", save_top_k=-1, every_n_train_steps=every
        )
        left, _ = fitted(
            Scheduled, trainer, tight, [checkpoint], enable_checkpointing=True, max_epochs=2
        )
        saved.append((left, sorted((tmp_path / name).iterdir())))
    assert alone
    assert_same(saved[0][0], saved[1][0])
    assert [path.name for path in saved[0][1]] == [path.name for path in saved[1][1]]
    assert len(saved[0][1]) == 2 * BATCHES // every
    for one, other in zip(saved[0][1], saved[1][1], strict=True):
        contents = [torch.load(path, weights_only=False) for path in (one, other)]
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
            assert_same(contents[0][key], contents[1][key])


def test_a_run_that_stopped_within_an_epoch_ends_as_an_unstopped_one(
    trainer: MakeTrainer, tmp_path: Path
) -> None:
    def fit(tight: list[Callback], ckpt_path: Path | None, **options: Any) -> tuple[Any, Trainer]:
        torch.manual_seed(0)
        model, data = LinearRegression(), SyntheticData(batch_size=7)
        runner = trainer(callbacks=tight, **options)
        runner.fit(model, data, ckpt_path=ckpt_path)
        return model, runner

    whole, _ = fit([TightLoop(1)], None, max_epochs=4)
    middle = ModelCheckpoint(tmp_path, "middle", every_n_train_steps=38)
    fit([TightLoop(5), middle], None, max_steps=40, enable_checkpointing=True)
    again, runner = fit([TightLoop(4)], tmp_path / "middle.ckpt", max_epochs=4)
    assert runner.global_step == 4 * 15
    assert again.coefficients() == whole.coefficients()


class EveryBatch(Callback):
    def __init__(self) -> None:
        self.batches: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.batches.append(batch_idx)


class Gradients(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        pass


class OwnStep(Small):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        optimizer.step(closure=optimizer_closure)


class TwoOptimizers(ByHand):
    def training_step(self, batch: list[Tensor]) -> Any:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[j].parameters(), lr=0.1) for j in (0, 3)]


SINGLE = [
    (Small, {"accumulate_grad_batches": 2}, []),
    (Small, {"profiler": "simple"}, []),
    (Small, {"fast_dev_run": 9}, []),
    (Small, {}, [EveryBatch()]),
    (Small, {}, [Gradients()]),
    (OwnStep, {}, []),
    (TwoOptimizers, {"max_steps": 11}, []),
]


@pytest.mark.parametrize(("model", "options", "callbacks"), SINGLE)
def test_what_looks_at_single_steps_gets_them(
    model: type, options: dict, callbacks: list, trainer: MakeTrainer, alone: list[int]
) -> None:
    with_loop, _ = fitted(model, trainer, [TightLoop(8)], callbacks, **options)
    assert not alone
    without, _ = fitted(model, trainer, [], callbacks, **options)
    assert_same(with_loop, without)


def test_manual_steps_that_cannot_be_counted_are_left_to_the_trainer(
    trainer: MakeTrainer, alone: list[int]
) -> None:
    with_loop, _ = fitted(TwiceByHand, trainer, [TightLoop(4)], [], max_steps=31)
    without, _ = fitted(TwiceByHand, trainer, [], [], max_steps=31)
    assert len(alone) <= 1
    assert_same(with_loop, without)


def test_a_loader_of_unknown_length_is_left_to_the_trainer(
    trainer: MakeTrainer, alone: list[int]
) -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(rows())

    model = Small()
    trainer(callbacks=[TightLoop(5)], max_epochs=1).fit(model, DataLoader(Stream(), batch_size=8))
    assert not alone
    assert len(model.seen) == BATCHES


def test_a_hook_marked_once_a_call_holds_nothing_up(trainer: MakeTrainer, alone: list[int]) -> None:
    class Now(Callback):
        batches: list[int] = []  # noqa: RUF012

        @once_a_call
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            assert outputs["loss"].isfinite()
            self.batches.append(batch_idx)

    fitted(Small, trainer, [TightLoop(10)], [Now()], max_epochs=1, limit_val_batches=0)
    assert alone == [10, 10, 3]
    assert Now.batches == [9, 19, 22]


class Watches(Callback):
    """Sees each step, and its gradients."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    @each_step
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.seen.append((trainer.global_step, batch_idx, len(batch[0])))

    @each_step
    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.seen.append(("zero", trainer.global_step))

    @each_step
    def on_before_backward(self, trainer, pl_module, loss) -> None:
        self.seen.append(("before", loss.item()))

    @each_step
    def on_after_backward(self, trainer, pl_module) -> None:
        self.seen.append(("after", [p.grad.sum().item() for p in pl_module.parameters()]))

    @each_step
    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.seen.append(("step", optimizer.param_groups[0]["lr"]))

    @each_step
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append((trainer.global_step, outputs["loss"].item()))


@pytest.mark.parametrize("model", [Scheduled, ByHand])
def test_a_hook_marked_each_step_sees_what_it_would(
    model: type, trainer: MakeTrainer, alone: list[int]
) -> None:
    watches = Watches(), Watches()
    with_loop, _ = fitted(model, trainer, [TightLoop(6)], [watches[0]])
    assert alone
    without, _ = fitted(model, trainer, [], [watches[1]])
    assert_same(with_loop, without)
    assert watches[0].seen == watches[1].seen
    assert len(watches[0].seen) >= 4 * 3 * BATCHES


def test_values_reach_the_logger_when_a_step_fails(trainer: MakeTrainer) -> None:
    class Fails(Small):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            if batch_idx == 12:
                raise ArithmeticError("enough")
            return super().training_step(batch, batch_idx)

    logger = Recorder()
    runner = trainer(logger=logger, log_every_n_steps=5, callbacks=[TightLoop(20)])
    with pytest.raises(ArithmeticError, match="enough"):
        runner.fit(Fails(), *loaders())
    assert [step for step, _ in logger.rows] == [4, 9]
    again = Recorder()
    runner.loggers = [again]
    runner.fit(Small(), *loaders())
    assert runner.fit_loop.epoch_loop.advance.__name__ == "advance"


def test_fast_steps_are_grouped_and_slow_ones_are_not(
    trainer: MakeTrainer, alone: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    class Slow(Small):
        seconds = 0.001

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            nonlocal now
            now += self.seconds
            return super().training_step(batch, batch_idx)

    class Slower(Slow):
        seconds = 0.03

    monkeypatch.setattr("time.perf_counter", lambda: now)
    options = {"max_epochs": 4, "limit_val_batches": 0}
    fitted(Slow, trainer, [TightLoop()], [], **options)
    assert alone == [BATCHES - 1, BATCHES, BATCHES, BATCHES]
    alone.clear()
    fitted(Slower, trainer, [TightLoop()], [], **options)
    assert not alone


@pytest.mark.parametrize("model", [LinearRegression, ManualLinearRegression])
def test_our_models_bring_it_along(model: type, trainer: MakeTrainer, alone: list[int]) -> None:
    answers = []
    for callbacks in ([], [TightLoop(1)]):
        torch.manual_seed(0)
        fit, runner = model(), trainer(max_epochs=20, callbacks=callbacks)
        runner.fit(fit, SyntheticData(batch_size=5))
        assert sum(isinstance(each, TightLoop) for each in runner.callbacks) == 1
        answers.append(fit.coefficients())
        assert bool(alone) != bool(callbacks)
        alone.clear()
    assert answers[0] == answers[1]


def test_a_number_of_steps_that_cannot_be() -> None:
    with pytest.raises(InputError, match="steps: 0 was given; type a whole number above 0"):
        TightLoop(0)


def test_the_command_takes_steps_in_groups(
    command: Callable[..., dict[str, Any]], alone: list[int]
) -> None:
    def answer(*words: str) -> dict[str, Any]:
        return command("fit --data.batch_size 4 --trainer.max_epochs 3", *words)

    one = answer()
    assert max(alone) > 4
    alone.clear()
    loop = "--trainer.callbacks+=linreg_lightning.loop.TightLoop --trainer.callbacks.steps=1"
    other = answer(loop)
    assert not alone
    assert one["coefficients"] == other["coefficients"]
