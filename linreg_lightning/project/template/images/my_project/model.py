"""The model: a small convolutional network."""

from typing import Any

import linreg_lightning as ll
import torch
from linreg_lightning.validation import check_argument
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score


class ConvNet(ll.SupervisedModule):
    """Two convolutions and a linear layer, for grey images of any size; Adam on the cross-entropy.

    Args:
        classes: how many classes there are.
        channels: channels of the first convolution; the second has twice as many.
        lr: Adam's learning rate.
    """

    def __init__(self, classes: int = 3, channels: int = 16, lr: float = 0.01) -> None:
        check_argument("classes", classes, classes >= 2, "a whole number above 1")
        check_argument("channels", channels, channels >= 1, "a whole number above 0")
        check_argument("lr", lr, lr > 0, "a number above 0")
        super().__init__()
        self.save_hyperparameters()
        self.classes, self.lr = classes, lr
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(2 * channels * 4 * 4, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The logits, (rows, classes), for images x, (rows, 1, height, width)."""
        logits: Tensor = self.layers(x)
        return logits

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The loss of each image, (rows,); a training step takes their mean."""
        return F.cross_entropy(prediction, y, reduction="none")

    def make_metrics(self) -> MetricCollection:
        """The part of the images that is right, and F1, the mean over the classes."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.classes, average="micro"),
                "f1": MulticlassF1Score(self.classes),
            }
        )

    def figures(self, x: Tensor, y: Tensor, prediction: Tensor, caption: str) -> dict[str, Any]:
        """The pictures of a fit, by name, of a sample of images."""
        from linreg_lightning import plots  # imports matplotlib, which takes a second

        predicted, names = prediction.argmax(dim=1), self.class_names
        titles = [names[k] for k in predicted]
        return {
            "confusion": plots.confusion_matrix(y, predicted, names, caption),
            "images": plots.image_grid(x, titles, caption, wrong=predicted != y),
        }

    def prediction_columns(self, prediction: Tensor) -> dict[str, Any]:
        """The columns of predictions.csv: the likeliest class, and the probability of each."""
        labels = [self.class_names[k] for k in prediction.argmax(dim=1)]
        probabilities = zip(self.class_names, prediction.softmax(dim=1).T, strict=True)
        named = {f"{name}_probability": column for name, column in probabilities}
        return {"class": labels, **named}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)
