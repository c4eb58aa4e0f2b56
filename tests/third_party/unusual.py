"""Networks and loaders that do what Lightning allows but few people do."""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, IterableDataset, default_collate

from third_party.small import ManualOptimization, Small, rows


class PlainOptimizer(Optimizer):
    """Disables gradients in `step`, so that the closure must enable them."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"])
        return loss


class UsesPlainOptimizer(Small):
    def configure_optimizers(self) -> Any:
        return PlainOptimizer(self.parameters())


class KeywordSGD(SGD):
    def step(self, *, closure: Any = None) -> Any:
        return super().step(closure)


class TakesClosureByKeyword(Small):
    """Its optimizer accepts the closure only as a keyword argument."""

    def configure_optimizers(self) -> Any:
        return KeywordSGD(self.parameters(), lr=0.05)


class OverridesOptimizerStep(Small):
    """Its optimizer overrides `step` but copies the attributes of the step of SGD."""

    def configure_optimizers(self) -> Any:
        SGD(self.parameters())  # torch wraps SGD.step when the first SGD is made

        class Clamps(SGD):
            @wraps(SGD.step)
            def step(self, *args: Any, **options: Any) -> Any:
                loss = super().step(*args, **options)
                with torch.no_grad():
                    for parameter in self.param_groups[0]["params"]:
                        parameter.clamp_(-0.2, 0.2)
                return loss

        return Clamps(self.parameters(), lr=0.05)


class OptimizerWrapper:
    """Follows Lightning's protocol for optimizers, but is not an Optimizer of torch."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.defaults, self.state = optimizer.defaults, optimizer.state
        self.param_groups = optimizer.param_groups

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.load_state_dict(state)


class UsesOptimizerWrapper(Small):
    def configure_optimizers(self) -> Any:
        return OptimizerWrapper(SGD(self.parameters(), lr=0.05))


class AddsParameters(Small):
    """Adds parameters to its optimizer at step 10."""

    def configure_optimizers(self) -> Any:
        return SGD(self.net[3].parameters(), lr=0.05)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if self.global_step == 10:
            self.trainer.optimizers[0].add_param_group({"params": [*self.net[0].parameters()]})
        return super().training_step(batch, batch_idx)


class ReplacesTrainingStep(Small):
    """Replaces its training_step in the second epoch."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.training_step = self.second

    def second(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = 3 * self.loss(batch)
        self.log("second", loss)
        return loss


class OverridesClipping(Small):
    """Overrides clip_gradients with another limit."""

    def clip_gradients(self, *_: Any, **__: Any) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)


class LogsByPosition(Small):
    """Passes the options of `log` by position, and logs a tensor of shape (1,)."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("both", loss, False, True, True, True, "max")
        self.log("long", loss.reshape(1))
        return loss


class LogsStepAndEpoch(Small):
    """Logs values named `step` and `epoch`, which set the place of logged rows."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if self.current_epoch:
            self.log("step", torch.tensor(10.0 * self.global_step))
        if batch_idx == 9:
            self.log("epoch", torch.tensor(0.5))
        return super().training_step(batch, batch_idx)


class LogsAtOneStep(Small):
    """Logs a number at one step per epoch."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if batch_idx == 9:
            self.log("now", float(batch_idx))
        return super().training_step(batch, batch_idx)


class KeepsLogMethod(Small):
    """Keeps a partial of `log` that is made before the fit."""

    def __init__(self) -> None:
        super().__init__()
        self.average = partial(self.log, on_step=False, on_epoch=True)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.average("mean", loss)
        return loss


class LogsThroughSuper(Small):
    """Logs through `super().log`."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        super().log("mean", loss, on_step=False, on_epoch=True)
        return loss


class TwoStepsLater(ManualOptimization):
    """Takes two optimizer steps per batch from step 10 on."""

    def training_step(self, batch: list[Tensor]) -> Any:
        if self.global_step >= 10:
            super().training_step(batch)
        return super().training_step(batch)


class ChangesBatch(Small):
    """Replaces an element of the list that is its batch."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        batch[0] = batch[0] * 1.1
        return super().training_step(batch, batch_idx)


class UsesOneOfTwoBatches(Small):
    """Receives a dictionary of two batches and trains on one."""

    def training_step(self, batch: dict[str, list[Tensor]], batch_idx: int) -> Any:
        return super().training_step(batch["one"], batch_idx)


def loader_with_missing_batches() -> list[Any]:
    """Return a loader in which some batches are None."""

    def collate(items: list[Any]) -> Any:
        return None if items[0][0][0] > 0.5 else default_collate(items)

    return [DataLoader(rows(), batch_size=8, collate_fn=collate)]


class OverstatesLength(IterableDataset):
    """Yields fewer rows than its length says."""

    def __len__(self) -> int:
        return len(rows())

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(rows()), 120)


def shorter_loader() -> list[Any]:
    return [DataLoader(OverstatesLength(), batch_size=8)]


def two_loaders() -> list[Any]:
    return [{"one": shorter_loader()[0], "other": shorter_loader()[0]}]


class ReusesBatches:
    """Yields the same lists in each epoch."""

    def __init__(self) -> None:
        self.batches = list(DataLoader(rows(), batch_size=8))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def reused_batches() -> list[Any]:
    return [ReusesBatches()]
