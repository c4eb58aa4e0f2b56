"""The model: a network that tells classes apart."""

from typing import Any

import linreg_lightning as ll
import torch
from linreg_lightning.validation import check_argument
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score


class Classifier(ll.StandardizedModule):
    """Linear, ReLU, linear on standardised columns; Adam on the cross-entropy.

    Args:
        hidden: hidden units.
        lr: Adam's learning rate.
    """

    def __init__(self, hidden: int = 32, lr: float = 0.01) -> None:
        check_argument("hidden", hidden, hidden >= 1, "a whole number above 0")
        check_argument("lr", lr, lr > 0, "a number above 0")
        super().__init__()
        self.save_hyperparameters()
        self.hidden, self.lr = hidden, lr

    def build(self, in_features: int, out_features: int) -> None:
        """Make the layers, as soon as the numbers of columns of x and of classes are known."""
        super().build(in_features, out_features)
        self.layers = nn.Sequential(
            nn.Linear(in_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The logits, (rows, classes), for x, (rows, features)."""
        logits: Tensor = self.layers(self.standardized(x))
        return logits

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The loss of each row, (rows,); a training step takes their mean."""
        return F.cross_entropy(prediction, y, reduction="none")

    def make_metrics(self) -> MetricCollection:
        """The part of the rows that is right, and F1, the mean over the classes."""
        classes = len(self.class_names)
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "f1": MulticlassF1Score(classes),
            }
        )

    def figures(self, x: Tensor, y: Tensor, prediction: Tensor, caption: str) -> dict[str, Any]:
        """The pictures of a fit, by name, of a sample of rows."""
        from linreg_lightning import plots  # imports matplotlib, which takes a second

        predicted = prediction.argmax(dim=1)
        return {"confusion": plots.confusion_matrix(y, predicted, self.class_names, caption)}

    def prediction_columns(self, prediction: Tensor) -> dict[str, Any]:
        """The columns of predictions.csv: the likeliest class, and the probability of each."""
        labels = [self.class_names[k] for k in prediction.argmax(dim=1)]
        probabilities = zip(self.class_names, prediction.softmax(dim=1).T, strict=True)
        named = {f"{name}_probability": column for name, column in probabilities}
        return {self.target_names[0]: labels, **named}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)
