"""Networks that do what Lightning allows and few do."""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, IterableDataset, default_collate

from third_party.small import ByHand, Small, rows


class Plainest(Optimizer):
    """Leaves it to its closure to ask for gradients."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"])
        return loss


class Watchful(Small):
    def configure_optimizers(self) -> Any:
        return Plainest(self.parameters())


class Named(SGD):
    def step(self, *, closure: Any = None) -> Any:
        return super().step(closure)


class OneName(Small):
    """Takes the closure by its name."""

    def configure_optimizers(self) -> Any:
        return Named(self.parameters(), lr=0.05)


class LastWord(Small):
    """Has an optimizer whose step looks like its base's."""

    def configure_optimizers(self) -> Any:
        SGD(self.parameters())  # from the first one on, torch has wrapped the step

        class Clamps(SGD):
            @wraps(SGD.step)
            def step(self, *args: Any, **options: Any) -> Any:
                loss = super().step(*args, **options)
                with torch.no_grad():
                    for parameter in self.param_groups[0]["params"]:
                        parameter.clamp_(-0.2, 0.2)
                return loss

        return Clamps(self.parameters(), lr=0.05)


class Wrapper:
    """An optimizer as Lightning's protocol has it, which is none of torch's."""

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


class Delegates(Small):
    def configure_optimizers(self) -> Any:
        return Wrapper(SGD(self.parameters(), lr=0.05))


class Grows(Small):
    """Trains more of itself from one step on."""

    def configure_optimizers(self) -> Any:
        return SGD(self.net[3].parameters(), lr=0.05)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if self.global_step == 10:
            self.trainer.optimizers[0].add_param_group({"params": [*self.net[0].parameters()]})
        return super().training_step(batch, batch_idx)


class Exchanged(Small):
    """Has another training_step from the second epoch on."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.training_step = self.second

    def second(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = 3 * self.loss(batch)
        self.log("second", loss)
        return loss


class Clips(Small):
    """Clips gradients by a limit of its own."""

    def clip_gradients(self, *_: Any, **__: Any) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)


class Terse(Small):
    """Says by position what is to be logged, and of what shape it comes."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("both", loss, False, True, True, True, "max")
        self.log("long", loss.reshape(1))
        return loss


class Placed(Small):
    """Logs where its rows belong in the run."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if self.current_epoch:
            self.log("step", torch.tensor(10.0 * self.global_step))
        if batch_idx == 9:
            self.log("epoch", torch.tensor(0.5))
        return super().training_step(batch, batch_idx)


class Now(Small):
    """Logs a number at one step of many."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if batch_idx == 9:
            self.log("now", float(batch_idx))
        return super().training_step(batch, batch_idx)


class Bound(Small):
    """Has kept a log from before."""

    def __init__(self) -> None:
        super().__init__()
        self.average = partial(self.log, on_step=False, on_epoch=True)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.average("mean", loss)
        return loss


class Above(Small):
    """Logs by its base."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        super().log("mean", loss, on_step=False, on_epoch=True)
        return loss


class TwiceLater(ByHand):
    """Takes two steps a batch from one step on."""

    def training_step(self, batch: list[Tensor]) -> Any:
        if self.global_step >= 10:
            super().training_step(batch)
        return super().training_step(batch)


class Alters(Small):
    """Puts something else into the list that a batch is."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        batch[0] = batch[0] * 1.1
        return super().training_step(batch, batch_idx)


class Both(Small):
    """Trains on one of two batches."""

    def training_step(self, batch: dict[str, list[Tensor]], batch_idx: int) -> Any:
        return super().training_step(batch["one"], batch_idx)


def gaps() -> list[Any]:
    """A loader some of whose batches are none."""

    def collate(items: list[Any]) -> Any:
        return None if items[0][0][0] > 0.5 else default_collate(items)

    return [DataLoader(rows(), batch_size=8, collate_fn=collate)]


class Promises(IterableDataset):
    """Says that it has more rows than it has."""

    def __len__(self) -> int:
        return len(rows())

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(rows()), 120)


def short() -> list[Any]:
    return [DataLoader(Promises(), batch_size=8)]


def several() -> list[Any]:
    return [{"one": short()[0], "other": short()[0]}]


class Kept:
    """Has the same lists in each epoch."""

    def __init__(self) -> None:
        self.batches = list(DataLoader(rows(), batch_size=8))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def kept() -> list[Any]:
    return [Kept()]
