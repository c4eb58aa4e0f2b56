"""Networks from outside the package, whose steps can be replayed, or cannot."""

import random
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from third_party.small import Small


class Plain(Small):
    """Without what a replay cannot do: to note what Python has seen."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss


class Stepwise(Plain):
    """Has another learning rate in each epoch."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5, weight_decay=0.01)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


class Averages(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running", torch.zeros(()))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.running += loss.detach()
        self.log("running", self.running)
        self.log("slope", self.net[0].weight[0, 0])
        self.log("both", loss, on_step=True, on_epoch=True)
        return {"loss": loss, "extra": self.running}


class Penalised(Plain):
    """Asks for the gradient of its input, and changes what it has logged."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        x, y = batch
        x.requires_grad_()
        prediction = self.net(x)
        (slope,) = torch.autograd.grad(prediction.sum(), x, create_graph=True)
        loss = torch.nn.functional.mse_loss(prediction, y)
        self.log("train_loss", loss)
        loss += 0.1 * slope.square().mean()
        return loss


class Twice(torch.optim.SGD):
    """Asks for the gradient twice in a step."""

    def step(self, closure: Any = None) -> Any:
        closure()
        return super().step(closure)


class Sharpness(Plain):
    def configure_optimizers(self) -> Any:
        return Twice(self.parameters(), lr=0.05)


class Thaws(Plain):
    """Trains its first layer from the second epoch on."""

    def on_train_epoch_start(self) -> None:
        self.net[0].requires_grad_(self.current_epoch > 0)


class Changes(Plain):
    """Is changed by a validation."""

    factor = 1.0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return self.factor * super().training_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self.factor *= 0.9
        for parameter in self.parameters():
            parameter.data = parameter.data * 0.9


class Numbers(Plain):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        self.log("index", float(batch_idx))
        return super().training_step(batch, batch_idx)


class Waits(Plain):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss if loss.item() < 1e9 else None


class Counts(Plain):
    steps = 0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        self.steps += 1
        return super().training_step(batch, batch_idx) / self.steps


class Measures(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric(nan_strategy="disable")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.mean.update(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("mean", self.mean)


class Exchanges(Plain):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        weight = self.net[0].weight
        weight.data = weight.data * 0.99
        return super().training_step(batch, batch_idx)


class Appends(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("mean", torch.stack(self.losses).mean())
        self.losses.clear()


class Mixes(Plain):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        random.seed(self.global_step)
        return random.random() * super().training_step(batch, batch_idx)


class Slower(torch.optim.SGD):
    """Counts by Python."""

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        parameters = self.param_groups[0]["params"]
        state = self.state[parameters[0]]
        state["step"] = state.get("step", 0) + 1
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(parameter.grad, alpha=-0.1 / state["step"])
        return loss


class Slows(Plain):
    def configure_optimizers(self) -> Any:
        return Slower(self.parameters(), lr=0.1)


class Replaces(Averages):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        self.running = self.running * 0.9
        return super().training_step(batch, batch_idx)


class AtEachStep(Plain):
    """Has another learning rate at each step."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
        rate = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
        return [optimizer], [{"scheduler": rate, "interval": "step"}]


class Watched(Plain):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.register_step_post_hook(lambda *_: None)
        return optimizer
