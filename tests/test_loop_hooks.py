"""What looks at steps sees of a tight loop what it must."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch import Callback
from third_party.small import (
    BATCHES,
    ByHand,
    Halves,
    MakeTrainer,
    PlateauByStep,
    Scheduled,
    Seldom,
    Small,
    Stops,
    TwiceByHand,
    assert_same,
    fitted,
    rows,
)
from third_party.unusual import Clips, Delegates
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, IterableDataset

from linreg_lightning import TightLoop
from linreg_lightning.hook_markers import per_group, per_step
from linreg_lightning.tight_loop.lightning_internals import unwrapped_step


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
    (Halves, {}, []),
    (Seldom, {}, []),
    (PlateauByStep, {}, []),
    (TwoOptimizers, {"max_steps": 11}, []),
    (Clips, {}, []),
    (Delegates, {}, []),
]


@pytest.mark.parametrize(("model", "options", "callbacks"), SINGLE)
def test_what_looks_at_single_steps_gets_them(
    model: type, options: dict, callbacks: list, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(model, trainer, [TightLoop(8)], callbacks, **options)
    assert not group_sizes
    without, _ = fitted(model, trainer, [], callbacks, **options)
    assert_same(with_loop, without)


def test_manual_steps_that_cannot_be_counted_are_left_to_the_trainer(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(TwiceByHand, trainer, [TightLoop(4)], [], max_steps=31)
    without, _ = fitted(TwiceByHand, trainer, [], [], max_steps=31)
    assert len(group_sizes) <= 1
    assert_same(with_loop, without)


def test_a_loader_of_unknown_length_is_left_to_the_trainer(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(rows())

    model = Small()
    trainer(callbacks=[TightLoop(5)], max_epochs=1).fit(model, DataLoader(Stream(), batch_size=8))
    assert not group_sizes
    assert len(model.seen) == BATCHES


def test_a_hook_marked_per_group_is_called_once_a_group(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class Now(Callback):
        batches: ClassVar[list[int]] = []

        @per_group
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            assert outputs["loss"].isfinite()
            self.batches.append(batch_idx)

    fitted(Small, trainer, [TightLoop(10)], [Now()], max_epochs=1, limit_val_batches=0)
    assert group_sizes == [10, 10, 3]
    assert Now.batches == [9, 19, 22]


class Watches(Callback):
    """Sees each step, and its gradients."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    @per_step
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.seen.append((trainer.global_step, batch_idx, len(batch[0])))
        if batch_idx % 5 == 4:
            trainer.logger.log_metrics({"rows": len(batch[0])}, step=trainer.global_step)

    @per_step
    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.seen.append(("zero", trainer.global_step))

    @per_step
    def on_before_backward(self, trainer, pl_module, loss) -> None:
        self.seen.append(("before", loss.item()))

    @per_step
    def on_after_backward(self, trainer, pl_module) -> None:
        self.seen.append(("after", [p.grad.sum().item() for p in pl_module.parameters()]))

    @per_step
    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.seen.append(("step", optimizer.param_groups[0]["lr"]))

    @per_step
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append((trainer.global_step, outputs["loss"].item()))


@pytest.mark.parametrize("model", [Scheduled, ByHand])
def test_a_hook_marked_per_step_sees_each_step_as_without_groups(
    model: type, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    watches = Watches(), Watches()
    with_loop, _ = fitted(model, trainer, [TightLoop(6)], [watches[0]])
    assert group_sizes
    without, _ = fitted(model, trainer, [], [watches[1]])
    assert_same(with_loop, without)
    assert watches[0].seen == watches[1].seen
    assert len(watches[0].seen) >= 4 * 3 * BATCHES


class Speaks(Callback):
    """Logs in all hooks that may be called at each step."""

    @per_step
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        pl_module.log("start", float(batch_idx), on_step=False, on_epoch=True)

    @per_step
    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        pl_module.log("slope", pl_module.net[0].weight.grad.norm())

    @per_step
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.log("end", outputs["loss"], on_step=True, on_epoch=True)


@pytest.mark.parametrize("steps", [2, 7])
def test_a_hook_marked_per_step_may_log(
    steps: int, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(Small, trainer, [TightLoop(steps)], [Speaks()])
    assert group_sizes
    without, _ = fitted(Small, trainer, [], [Speaks()])
    assert_same(with_loop, without)


class Saves(Callback):
    """Saves a checkpoint in each hook at one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, trainer: Any, name: str) -> None:
        if trainer.global_step == 12:
            trainer.save_checkpoint(self.folder / name)

    @per_step
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.save(trainer, "start")

    @per_step
    def on_before_backward(self, trainer, pl_module, loss) -> None:
        self.save(trainer, "backward")

    @per_step
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.save(trainer, "end")


@pytest.mark.parametrize("steps", [3, 100])
def test_a_checkpoint_within_a_step_says_where_it_is(
    steps: int, trainer: MakeTrainer, tmp_path: Path, group_sizes: list[int]
) -> None:
    for folder, tight in (("with", [TightLoop(steps)]), ("without", [])):
        fitted(Small, trainer, tight, [Saves(tmp_path / folder)], max_epochs=1)
    assert group_sizes
    for name in ("start", "backward", "end"):
        one, other = (
            torch.load(tmp_path / folder / name, weights_only=False)
            for folder in ("with", "without")
        )
        for key in ("loops", "state_dict", "optimizer_states", "global_step"):
            assert_same(one[key], other[key])


def test_a_hook_marked_per_group_sees_the_step_that_stops_the_run(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class Latest(Callback):
        @per_group
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            self.latest = trainer.global_step

    for tight in ([TightLoop(100)], []):
        latest = Latest()
        fitted(Stops, trainer, tight, [latest])
        assert latest.latest == 31
    assert group_sizes


@pytest.mark.parametrize("where", ["optimizer", "all optimizers", "profiler"])
def test_who_watches_the_optimizer_sees_each_step(
    where: str, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    seen: list[int] = []

    class Watched(Small):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            if where == "optimizer":
                optimizer.register_step_post_hook(lambda *_: seen.append(1))
            return optimizer

    everywhere = None
    if where == "all optimizers":
        everywhere = register_optimizer_step_pre_hook(lambda *_: seen.append(1))
    if where == "profiler":
        with torch.profiler.profile(acc_events=True) as profiler:
            _, runner = fitted(Watched, trainer, [TightLoop(8)], [], max_epochs=1)
        counts = {event.key: event.count for event in profiler.key_averages()}
        seen += [1] * counts["Optimizer.step#SGD.step"]
    else:
        _, runner = fitted(Watched, trainer, [TightLoop(8)], [], max_epochs=1)
    if everywhere is not None:
        everywhere.remove()
    assert group_sizes
    assert len(seen) == runner.global_step == BATCHES


def test_an_optimizer_that_nobody_watches_is_not_wrapped() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    assert getattr(type(optimizer).step, "hooked", False)
    assert unwrapped_step(optimizer).__func__ is type(optimizer).step.__wrapped__
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # watches it by a step of its own
    assert unwrapped_step(optimizer) == optimizer.step
