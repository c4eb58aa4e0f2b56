"""A module from outside the package gets rows in the Trainer's precision; ours, the data's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from linreg_lightning import LinearRegression, SyntheticData, TabularData, TensorData, TightLoop

MakeTrainer = Callable[..., Trainer]


class Network(LightningModule):
    """Records the types of all tensors that its steps get."""

    def __init__(self, features: int = 3, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(features, 1, dtype=dtype)
        self.types: set[torch.dtype] = set()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.types |= {part.dtype for part in batch if part is not None}
        return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.types.add(batch[0].dtype)
        return self.layer(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-9)


def data_of(kind: str) -> Any:
    if kind == "arrays":
        x = np.arange(60.0).reshape(20, 3)
        return TensorData(x, x.sum(1), weight=np.ones(20), val_fraction=0.2, test_fraction=0.2)
    split: dict[str, Any] = {"val_fraction": 0.2, "test_fraction": 0.2}
    if kind != "synthetic":
        table = {"path": "houses.csv", "target": "price"}
        return TabularData(**table, **split, stream=kind == "stream", batch_size=32)
    return SyntheticData(rows=50, weights=[1.0, 2.0, 3.0], val_rows=9, test_rows=9)


@pytest.mark.parametrize("kind", ["arrays", "table", "stream", "synthetic"])
def test_a_module_from_outside_fits_tests_and_predicts_in_float32(
    kind: str, trainer: MakeTrainer, houses: Path
) -> None:
    model, data = Network(), data_of(kind)
    run = trainer(max_epochs=1, callbacks=[TightLoop()])
    run.fit(model, data)
    run.test(model, data)
    (prediction, *_) = run.predict(model, data) or []
    assert model.types == {torch.float32}
    assert isinstance(prediction, torch.Tensor)
    assert prediction.dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("64-true", torch.float64), ("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)],
)
def test_another_precision_of_the_trainer_decides(
    precision: str, dtype: torch.dtype, trainer: MakeTrainer, houses: Path
) -> None:
    model = Network()
    trainer(max_epochs=1, precision=precision).fit(model, data_of("table"))
    assert model.types == {dtype}


def test_a_module_with_parameters_in_float64_keeps_float64(trainer: MakeTrainer) -> None:
    model = Network(dtype=torch.float64)
    trainer(max_epochs=1).fit(model, data_of("arrays"))
    assert model.types == {torch.float64}


def test_our_models_still_get_the_data_as_they_are(trainer: MakeTrainer) -> None:
    data, seen = data_of("arrays"), []
    model = LinearRegression(standardize=True)
    validate = model.validate_batch
    vars(model)["validate_batch"] = lambda batch: seen.append(batch[0].dtype) or validate(batch)
    trainer(max_epochs=1).fit(model, data)
    assert set(seen) == {torch.float64}
