#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0 (CPU), Python 3.11.
#
# A run has stopped early; its owner finds it too impatient, and resumes it from the checkpoint with
# `EarlyStopping("val_loss", patience=50)` in place of `patience=3`.
# One would guess: the callback that is given has the patience that is given, as `max_epochs` of the new Trainer is obeyed.
# Seen: the state of the callback in the checkpoint holds the patience too and overwrites it: the run stops after
# three epochs without an improvement, `patience` of the object is 3 again, and nothing is said.
# Why it matters: a resumed search ends where it ended before, and looks as if more patience did not help. The callback's
# `load_state_dict` has to be kept from restoring it, or its state removed from the checkpoint.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet lightning==2.6.6 torch==2.13.0
cd "$work"
"$work/env/bin/python" - 2> "$work/log" <<'PYTHON' || { tail -5 "$work/log"; exit 1; }
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.tensor(1.0))  # never improves

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


x = torch.linspace(-1, 1, 8)[:, None]
rows = DataLoader(TensorDataset(x, 2 * x), batch_size=8)
quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}


def trainer(epochs, patience):
    stopping = pl.callbacks.EarlyStopping("val_loss", patience=patience)
    return pl.Trainer(max_epochs=epochs, callbacks=[stopping], **quiet), stopping


first, _ = trainer(2, 3)
first.fit(Line(), rows, rows)
first.save_checkpoint("run.ckpt")

fresh, given = trainer(30, 50)
fresh.fit(Line(), rows, rows)
print(f"anew with patience {given.patience}: {fresh.current_epoch} epochs")

resumed, given = trainer(30, 50)
resumed.fit(Line(), rows, rows, ckpt_path="run.ckpt", weights_only=False)
print(f"resumed with patience 50: {resumed.current_epoch} epochs; patience is {given.patience}")
assert fresh.current_epoch == 30
assert resumed.current_epoch == 4 and given.patience == 3
PYTHON
