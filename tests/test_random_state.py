"""A model that draws random numbers resumes bit for bit, by the command's checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import SupervisedModule
from linreg_lightning.cli import Command

COMMAND = Command(
    "dropout", "Learn.", "test_random_state.Dropout", "linreg_lightning.data.SyntheticData"
)


class Dropout(SupervisedModule):
    """A line whose inputs drop out at random."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(), nn.Linear(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.layers(x)
        return prediction

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return (prediction - y).square().mean(dim=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Shuffled(LightningDataModule):
    """Rows in an order that a torch DataLoader draws from torch's own generator."""

    def train_dataloader(self) -> Any:
        x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        rows = TensorDataset(x, x.sum(dim=1, keepdim=True))
        return DataLoader(rows, batch_size=4, shuffle=True)

    val_dataloader = train_dataloader


def weight(run: int) -> Tensor:
    (path,) = Path(f"logs/version_{run}/checkpoints").glob("*.ckpt")
    state: Tensor = torch.load(path, weights_only=True)["state_dict"]["layers.1.weight"]
    return state


@pytest.mark.parametrize("data", ["SyntheticData", "test_random_state.Shuffled"])
def test_random_numbers_go_on_as_in_a_fit_without_a_break(data: str) -> None:
    quiet = {"trainer.accelerator": "cpu", "figures": False, "data": data}
    for options in (
        {"trainer.max_epochs": 4},
        {"trainer.max_epochs": 2},
        {"trainer.max_epochs": 4, "ckpt_path": "last"},
    ):
        COMMAND.fit({**quiet, **options})
    assert torch.equal(weight(0), weight(2))
    assert not torch.equal(weight(0), weight(1))
