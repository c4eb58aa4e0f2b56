"""The peer of `linreg fit`: a bare Lightning script that makes the same fit with defaults."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1, bias=False)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.mse_loss(self.linear(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


if __name__ == "__main__":
    lightning.seed_everything(0)
    x = torch.cat([torch.ones(100, 1), torch.randn(100, 2)], dim=1)
    y = x @ torch.tensor([[1.0], [2.0], [3.0]]) + 0.5 * torch.randn(100, 1)
    model = Model()
    trainer = lightning.Trainer(max_epochs=100, log_every_n_steps=1)
    trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=100))
    print(model.linear.weight)
