#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0 (CPU), Python 3.11.
#
# A checkpoint was saved with penalty=1. `Model.load_from_checkpoint(path, penalty=5)` makes the model with penalty=5, as
# documented. The model's hook `on_load_checkpoint(checkpoint)` receives the content of the file.
# One would guess: checkpoint["hyper_parameters"] is there what was saved, penalty 1, so that the hook can compare it with
# the new argument, and compute anew what depends on it.
# Seen: it holds penalty 5, which the file has not: the given arguments are written into it before the hook runs.
# trainer.validate(model, ckpt_path=path), with a model made with penalty=5, gives the hook the saved 1.
# Why it matters: a model whose weights depend on an argument (a closed-form fit with its penalty) cannot see in the hook
# that they are those of another one. It then shows one penalty and predicts by the weights of the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'PYTHON'
import logging

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
seen = []


class Model(LightningModule):
    def __init__(self, penalty=1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def on_load_checkpoint(self, checkpoint):
        seen.append(checkpoint["hyper_parameters"]["penalty"])

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer():
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **options)


rows = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=4)
first = trainer()
first.fit(Model(penalty=1), rows)
first.save_checkpoint("saved.ckpt")
saved = torch.load("saved.ckpt", weights_only=False)["hyper_parameters"]["penalty"]
Model.load_from_checkpoint("saved.ckpt", penalty=5)
trainer().validate(Model(penalty=5), rows, ckpt_path="saved.ckpt", verbose=False)
print("in the file:", saved)
print("in the hook, load_from_checkpoint(penalty=5):", seen[0])
print("in the hook, validate(Model(penalty=5), ckpt_path=...):", seen[1])
assert (saved, seen) == (1, [5, 1]), "this has changed"
PYTHON
