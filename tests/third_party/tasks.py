"""Models and data of classes and of images, as a user writes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from linreg_lightning import (
    Batch,
    RegressionDataModule,
    StandardizedModule,
    SupervisedDataModule,
    SupervisedModule,
)

KINDS = ["elm", "oak", "yew"]


class Trees(RegressionDataModule):
    """Leaves of three kinds of trees, of very different units: length in m, weight in mg."""

    def __init__(
        self,
        classes: list[str] = KINDS,
        weighted: bool = False,
        batch_size: int | None = 16,
        shuffle: bool = True,
    ) -> None:
        super().__init__(batch_size, shuffle, seed=0)
        self.class_names = classes
        self.feature_names, self.target_names = ["length", "weight"], ["kind"]
        self.weighted = weighted
        self.save_hyperparameters()

    def load(self, stage: str) -> None:
        random = torch.Generator().manual_seed(0)
        y = torch.randint(len(self.class_names), (92,), generator=random)
        z = torch.randn(92, 2, generator=random, dtype=torch.float64)
        z += torch.stack([y, y**2 % 3], dim=1)
        x = z * torch.tensor([0.01, 1000.0]) + torch.tensor([0.1, 1e6])
        weight = torch.rand(92, generator=random) * 100 if self.weighted else None
        rows = Batch(x, y, weight)
        self.splits["train"], self.splits["val"] = (
            rows.select(slice(61)),
            rows.select(slice(61, 92)),
        )
        self.splits["test"] = self.splits["predict"] = self.splits["val"]


class Classifier(StandardizedModule):
    def __init__(self, hidden: int = 8, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()

    def build(self, in_features: int, out_features: int) -> None:
        super().build(in_features, out_features)
        hidden = self.hparams["hidden"]
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.standardized(x))
        return logits

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(prediction, y, reduction="none")

    def make_metrics(self) -> MetricCollection:
        n = len(self.class_names)
        accuracy = MulticlassAccuracy(n, average="micro")
        return MetricCollection({"accuracy": accuracy, "f1": MulticlassF1Score(n)})

    def prediction_columns(self, prediction: Tensor) -> dict[str, Any]:
        kinds = [self.class_names[k] for k in prediction.argmax(dim=1)]
        return {"kind": kinds, "elm_probability": prediction.softmax(dim=1)[:, 0]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class Unweighted(Classifier):
    """Without metrics of torchmetrics, so that rows may have weights."""

    def make_metrics(self) -> None:
        return None


class Images(SupervisedDataModule):
    """Small images with a bright upper or lower half."""

    class_names = ["upper", "lower"]  # noqa: RUF012  nothing changes it

    def __init__(self, batch_size: int | None = 8) -> None:
        super().__init__(batch_size)
        self.save_hyperparameters()

    def load(self, stage: str) -> None:
        random = torch.Generator().manual_seed(0)
        images = torch.rand(45, 1, 4, 4, generator=random)
        y = torch.randint(2, (45,), generator=random)
        images[y == 0, :, :2] += 0.5
        images[y == 1, :, 2:] += 0.5
        rows = Batch(images, y)
        self.splits["train"], self.splits["val"] = (
            rows.select(slice(30)),
            rows.select(slice(30, 45)),
        )
        self.splits["test"] = self.splits["predict"] = self.splits["val"]


class ImageNetwork(SupervisedModule):
    def __init__(self, channels: int = 4, classes: int = 2, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        convolution = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.layers = nn.Sequential(
            convolution, nn.ReLU(), nn.Flatten(), nn.Linear(16 * channels, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(prediction, y, reduction="none")

    def make_metrics(self) -> Metric:
        return MulticlassAccuracy(2, average="micro")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)


def check_two_processes(found: list[dict[str, Any]]) -> None:
    """Compare what `processes.tasks` finds with a plain torch loop over the rows of both."""
    assert found[0] == found[1]
    answer, data = found[0], Trees()
    data.setup("fit")
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    network.load_state_dict({name: torch.tensor(v) for name, v in answer["first"].items()})
    rows = data.splits["train"]
    mean, scale = rows.x.mean(dim=0), rows.x.std(dim=0, correction=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(3):
        for part in (slice(20), slice(20, 40), slice(40, 61)):  # the last row has no partner
            optimizer.zero_grad()
            logits = network(((rows.x[part] - mean) / scale).float())
            functional.cross_entropy(logits, rows.y[part]).backward()
            optimizer.step()
    for parameter, last in zip(network.parameters(), answer["last"], strict=True):
        torch.testing.assert_close(parameter.detach(), torch.tensor(last), rtol=1e-4, atol=1e-5)
    assert answer["fit"]["rows"] == 61
    losses = {"train": answer["fit"]["loss"], "val": answer["val_loss"]}
    for split, loss in (losses | {"test": answer["test_loss"]}).items():
        x, y, _ = data.splits[split]
        logits = network(((x - mean) / scale).float())
        assert abs(functional.cross_entropy(logits, y).item() - loss) < 1e-5
        accuracy = (logits.argmax(dim=1) == y).double().mean().item()
        measured = answer["fit"]["accuracy"] if split == "train" else answer[f"{split}_accuracy"]
        assert abs(accuracy - measured) < 1e-6
