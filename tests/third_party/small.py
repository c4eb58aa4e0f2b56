"""Networks from outside the package, one for each way to train, and the comparison of two fits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

MakeTrainer = Callable[..., Trainer]
BATCHES = 23


class Recorder(Logger):
    """Records all logged values."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    name = "recorder"
    version = 0

    def log_hyperparams(self, *_: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        self.rows.append((step, dict(metrics)))


class Small(LightningModule):
    """A network from outside the package, which does not know of TightLoop."""

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


class LogsInEveryWay(Small):
    """Logs in every way that Lightning offers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running", torch.zeros(()), persistent=False)
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
        self.log("slope", self.net[0].weight[0, 0])
        return {"loss": loss, "extra": batch_idx}


class OverridesLog(Small):
    """Overrides `log` to change the name, and logs the loss at some steps."""

    def log(self, name: str, *args: Any, **options: Any) -> None:
        super().log(f"train/{name}", *args, **options)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        if batch_idx % 10 == 9:
            self.log("train_loss", loss)
        return loss


class LogsAtSomeSteps(Small):
    """Logs a number at some steps only."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        if batch_idx % 10 == 9:
            self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return self.loss(batch)


class StopsItself(Small):
    """Stops the run from within a training step."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        self.trainer.should_stop = self.global_step >= 30
        return super().training_step(batch, batch_idx)


class PlateauByStep(Small):
    """Its learning rate depends on a value that each step logs."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        settings = {"scheduler": schedule, "monitor": "train_loss", "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": settings}


class HalvesGradients(torch.optim.SGD):
    """Keeps half of the gradients of the previous step instead of setting them to zero."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad *= 0.5


class KeepsHalfOfGradients(Small):
    def configure_optimizers(self) -> Any:
        return HalvesGradients(self.parameters(), lr=0.05)


class LineSearch(Small):
    """Its optimizer calls the closure several times per step."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class SkipsOneStep(Small):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return None if batch_idx == 5 else super().training_step(batch, batch_idx)


class ManualOptimization(Small):
    """Optimises manually; its training step takes no batch index."""

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


class TwoManualSteps(ManualOptimization):
    """Takes two optimizer steps per batch, from the second batch on."""

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
    data: Callable[[], list[Any]] = loaders,
    **options: Any,
) -> tuple[dict[str, Any], Trainer]:
    """Fit a new model; return all results that two equal fits share, and the Trainer."""
    torch.manual_seed(1)
    logger, module = Recorder(), model()
    settings = {"max_epochs": 3, "log_every_n_steps": 5, "logger": logger, **options}
    runner = trainer(callbacks=[*callbacks, *tight], **settings)
    runner.fit(module, *data(), ckpt_path=ckpt_path)
    left = {
        "parameters": module.state_dict(),
        "optimizer": runner.optimizers[0].state_dict(),
        "rates": [each.scheduler.state_dict() for each in runner.lr_scheduler_configs],
        "metrics": dict(runner.callback_metrics),
        "logged": logger.rows,
        "loops": runner.fit_loop.state_dict(),
        "seen": getattr(module, "seen", None),
        "random": torch.get_rng_state(),
        "step": runner.global_step,
    }
    for rate in left["rates"]:
        rate.pop("_last_lr", None)
    return left, runner


def assert_same(one: Any, other: Any, exactly: bool = True) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key], exactly)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, exactly)
    elif isinstance(one, Tensor):
        if exactly:
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other)
    elif isinstance(one, float) and not exactly:
        assert one == pytest.approx(other, rel=1e-4, nan_ok=True)
    else:
        assert one == other or (one != one and other != other)
