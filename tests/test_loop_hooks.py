"""Models, hooks and profilers that need single steps get them in spite of TightLoop."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch import Callback
from third_party.small import (
    BATCHES,
    KeepsHalfOfGradients,
    MakeTrainer,
    ManualOptimization,
    OverridesLog,
    PlateauByStep,
    Scheduled,
    Small,
    StopsItself,
    TwoManualSteps,
    assert_same,
    fitted,
    rows,
)
from third_party.unusual import OverridesClipping, UsesOptimizerWrapper
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, IterableDataset

from linreg_lightning import TightLoop
from linreg_lightning.hook_markers import per_group, per_step
from linreg_lightning.tight_loop.lightning_internals import unwrapped_step


class HasBatchHook(Callback):
    def __init__(self) -> None:
        self.batches: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.batches.append(batch_idx)


class HasGradientHook(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        pass


class OverridesOptimizerStep(Small):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        optimizer.step(closure=optimizer_closure)


class TwoOptimizers(ManualOptimization):
    def training_step(self, batch: list[Tensor]) -> Any:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[j].parameters(), lr=0.1) for j in (0, 3)]


UNGROUPED = [
    (Small, {"accumulate_grad_batches": 2}, []),
    (Small, {"profiler": "simple"}, []),
    (Small, {"fast_dev_run": 9}, []),
    (Small, {}, [HasBatchHook()]),
    (Small, {}, [HasGradientHook()]),
    (OverridesOptimizerStep, {}, []),
    (KeepsHalfOfGradients, {}, []),
    (OverridesLog, {}, []),
    (PlateauByStep, {}, []),
    (TwoOptimizers, {"max_steps": 11}, []),
    (OverridesClipping, {}, []),
    (UsesOptimizerWrapper, {}, []),
]


@pytest.mark.parametrize(("model", "options", "callbacks"), UNGROUPED)
def test_steps_are_not_grouped_if_a_model_or_callback_needs_single_steps(
    model: type, options: dict, callbacks: list, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(model, trainer, [TightLoop(8)], callbacks, **options)
    assert not group_sizes
    without, _ = fitted(model, trainer, [], callbacks, **options)
    assert_same(with_loop, without)


def test_a_varying_number_of_manual_steps_is_left_to_the_trainer(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(TwoManualSteps, trainer, [TightLoop(4)], [], max_steps=31)
    without, _ = fitted(TwoManualSteps, trainer, [], [], max_steps=31)
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


def test_a_hook_marked_per_group_is_called_once_per_group(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class RecordsBatches(Callback):
        batches: ClassVar[list[int]] = []

        @per_group
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            assert outputs["loss"].isfinite()
            self.batches.append(batch_idx)

    fitted(Small, trainer, [TightLoop(10)], [RecordsBatches()], max_epochs=1, limit_val_batches=0)
    assert group_sizes == [10, 10, 3]
    assert RecordsBatches.batches == [9, 19, 22]


class RecordsSteps(Callback):
    """Records each step and its gradients."""

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


@pytest.mark.parametrize("model", [Scheduled, ManualOptimization])
def test_a_hook_marked_per_step_sees_the_same_steps_as_without_groups(
    model: type, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    recorders = RecordsSteps(), RecordsSteps()
    with_loop, _ = fitted(model, trainer, [TightLoop(6)], [recorders[0]])
    assert group_sizes
    without, _ = fitted(model, trainer, [], [recorders[1]])
    assert_same(with_loop, without)
    assert recorders[0].seen == recorders[1].seen
    assert len(recorders[0].seen) >= 4 * 3 * BATCHES


class LogsInHooks(Callback):
    """Logs in hooks that are called at each step."""

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
def test_a_hook_marked_per_step_can_log(
    steps: int, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with_loop, _ = fitted(Small, trainer, [TightLoop(steps)], [LogsInHooks()])
    assert group_sizes
    without, _ = fitted(Small, trainer, [], [LogsInHooks()])
    assert_same(with_loop, without)


class SavesInHooks(Callback):
    """Saves a checkpoint in each hook at step 12."""

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
def test_a_checkpoint_saved_within_a_step_has_the_right_progress(
    steps: int, trainer: MakeTrainer, tmp_path: Path, group_sizes: list[int]
) -> None:
    for folder, tight in (("with", [TightLoop(steps)]), ("without", [])):
        fitted(Small, trainer, tight, [SavesInHooks(tmp_path / folder)], max_epochs=1)
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
    class RecordsLatestStep(Callback):
        @per_group
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            self.latest = trainer.global_step

    for tight in ([TightLoop(100)], []):
        recorder = RecordsLatestStep()
        fitted(StopsItself, trainer, tight, [recorder])
        assert recorder.latest == 31
    assert group_sizes


@pytest.mark.parametrize("where", ["optimizer", "all optimizers", "profiler"])
def test_optimizer_hooks_and_profilers_see_each_step(
    where: str, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    seen: list[int] = []

    class HasOptimizerHook(Small):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            if where == "optimizer":
                optimizer.register_step_post_hook(lambda *_: seen.append(1))
            return optimizer

    global_hook = None
    if where == "all optimizers":
        global_hook = register_optimizer_step_pre_hook(lambda *_: seen.append(1))
    if where == "profiler":
        with torch.profiler.profile(acc_events=True) as profiler:
            _, runner = fitted(HasOptimizerHook, trainer, [TightLoop(8)], [], max_epochs=1)
        counts = {event.key: event.count for event in profiler.key_averages()}
        seen += [1] * counts["Optimizer.step#SGD.step"]
    else:
        _, runner = fitted(HasOptimizerHook, trainer, [TightLoop(8)], [], max_epochs=1)
    if global_hook is not None:
        global_hook.remove()
    assert group_sizes
    assert len(seen) == runner.global_step == BATCHES


def test_the_step_of_an_optimizer_without_hooks_is_not_wrapped() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    assert getattr(type(optimizer).step, "hooked", False)
    assert unwrapped_step(optimizer).__func__ is type(optimizer).step.__wrapped__
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # replaces the step of the optimizer
    assert unwrapped_step(optimizer) == optimizer.step
