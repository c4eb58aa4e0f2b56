"""What is measured over all rows, whatever the task: their mean loss, and the task's metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from linreg_lightning.errors import InputError
from linreg_lightning.metrics.regression import RegressionMetrics


@final
class TaskMetrics(nn.Module):
    """The number of rows, their mean loss and the metrics of a task, over batches and processes.

    Args:
        metrics: metrics of torchmetrics that are updated with (prediction, y); None for no others.

    >>> from torchmetrics import MetricCollection
    >>> from torchmetrics.classification import MulticlassAccuracy
    >>> accuracy = MulticlassAccuracy(2, average="micro")
    >>> metrics = TaskMetrics(MetricCollection({"accuracy": accuracy}))
    >>> metrics.update(torch.eye(2), torch.tensor([0, 0]), losses=torch.tensor([1.0, 4.0]))
    >>> {name: value.item() for name, value in metrics.compute().items()}
    {'rows': 2, 'loss': 2.5, 'accuracy': 0.5}
    """

    def __init__(self, metrics: Metric | MetricCollection | None) -> None:
        super().__init__()
        if isinstance(metrics, MetricCollection):
            # Its groups update once what had equal sums after the first batch, as the accuracies of
            # the first and of the first two guesses have where the first guesses are right.
            metrics = MetricCollection(dict(metrics.items()), compute_groups=False)
        self.mean_loss, self.metrics = MeanLoss(), metrics
        parts = metrics.values() if isinstance(metrics, MetricCollection) else [metrics]
        self._takes_weight = [
            part is None or "weight" in inspect.signature(part.update).parameters for part in parts
        ]

    def check_weight(self, weight: Tensor | None) -> None:
        """Refuse row weights where a metric of the task counts each row once."""
        if weight is not None and not all(self._takes_weight):
            raise InputError(
                "weight: rows with weights were given, and the metrics count each row once; leave "
                "the weights out, or give make_metrics metrics whose update takes a weight"
            )

    def reset(self) -> None:
        """Forget all rows."""
        self.mean_loss.reset()
        if self.metrics is not None:
            self.metrics.reset()

    def update(
        self,
        prediction: Tensor,
        y: Tensor,
        losses: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> None:
        """Add a batch; the losses of its rows and their weights are (rows,)."""
        self.mean_loss.update(len(y), losses, weight)
        if self.metrics is not None:
            self.metrics.update(prediction, y, **({} if weight is None else {"weight": weight}))

    def compute(self) -> dict[str, Tensor]:
        """Return `rows`, `loss` and the metrics by name; only `rows` where there are none."""
        own: dict[str, Tensor] = self.mean_loss.compute()
        if self.metrics is None or not own["rows"]:
            return own
        values: Any = self.metrics.compute()
        if not isinstance(values, dict):
            values = {type(self.metrics).__name__: values}
        for name, value in values.items():
            if value.numel() != 1:
                raise InputError(
                    f"make_metrics: {name} has the shape {tuple(value.shape)}; give metrics of one "
                    "number each"
                )
        return {**own, **values, **own}  # the loss of the task counts, not that of a metric


def task_metrics(
    make_metrics: Callable[[], Metric | MetricCollection | None],
    class_names: Sequence[str],
    model: str,
) -> TaskMetrics:
    """Return the metrics of a model, by its name, for data of these classes, which may be none.

    Raises:
        InputError: the model measures numbers and the data have classes, or the other way round.
    """
    try:
        metrics = make_metrics()
    except ValueError as error:  # torchmetrics refuses a number of classes of 0
        if class_names:
            raise
        raise InputError(
            f"class_names: the data have none, and {model} makes its metrics of them ({error}); "
            "give data of classes, in a table by classes true"
        ) from error
    if class_names and isinstance(metrics, RegressionMetrics):
        raise InputError(
            f"class_names: the data have the classes {', '.join(class_names)}, and {model} "
            "predicts numbers; give a model of classes, or set classes to false"
        )
    return TaskMetrics(metrics)


@final
class MeanLoss(Metric):
    """The number of rows, and sum(w l) / sum(w) of their losses l, in float64.

    >>> metric = MeanLoss()
    >>> metric.update(3, torch.tensor([1.0, 2.0, 6.0]))
    >>> metric.update(1, torch.tensor([5.0]))
    >>> {name: value.item() for name, value in metric.compute().items()}
    {'rows': 4, 'loss': 3.5}
    """

    full_state_update = False
    rows: Tensor
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=torch.tensor(0), dist_reduce_fx="sum")
        zeros = torch.zeros(2, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(self, rows: int, losses: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Add the losses of a batch, (rows,), with row weights, (rows,); None means 1 each."""
        self.rows = self.rows + (rows if weight is None else (weight > 0).sum())
        if losses is not None:
            losses = losses.double()
            weight = torch.ones_like(losses) if weight is None else weight.double()
            self.sums = self.sums + torch.stack([weight.sum(), weight @ losses])

    def compute(self) -> dict[str, Tensor]:
        """Return `rows` of weight above 0 and, where rows had losses, the mean `loss`."""
        weight, loss = self.sums
        return {"rows": self.rows} | ({"loss": loss / weight} if weight > 0 else {})
