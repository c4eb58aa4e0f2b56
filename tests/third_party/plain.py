"""A model and a data module that do not use linreg_lightning."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset


class CubicModel(LightningModule):
    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.cat([x, x**2, x**3], dim=1))

    def training_step(self, batch, batch_idx) -> torch.Tensor:
        x, y, *_ = batch
        loss = torch.nn.functional.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx) -> None:
        x, y, *_ = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self(x), y))

    def test_step(self, batch, batch_idx) -> None:
        x, y, *_ = batch
        self.log("test_loss", torch.nn.functional.mse_loss(self(x), y))

    def predict_step(self, batch, batch_idx) -> torch.Tensor:
        return self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class CubicData(LightningDataModule):
    """y = 1 + x - x^3 / 2, without noise."""

    def __init__(self, rows: int = 64) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        x = torch.linspace(-1, 1, self.hparams.rows).unsqueeze(1)
        self.rows = TensorDataset(x, 1 + x - x**3 / 2)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.rows, batch_size=16, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.rows, batch_size=64)

    test_dataloader = predict_dataloader = val_dataloader
