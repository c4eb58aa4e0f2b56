"""A model and a data module that save no hyper-parameters; the model predicts a dictionary."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from third_party.plain import CubicModel


class Model(CubicModel):
    def __init__(self) -> None:
        super().__init__()
        self.hparams.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def predict_step(self, batch, batch_idx) -> dict[str, torch.Tensor]:
        return {"y": self(batch[0])}


class Data(LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        x = torch.linspace(-1, 1, 64).unsqueeze(1)
        return DataLoader(TensorDataset(x, x), batch_size=64)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader
