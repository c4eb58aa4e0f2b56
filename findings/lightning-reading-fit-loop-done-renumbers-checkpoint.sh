#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0, Python 3.11.
#
# A callback wants to know in `on_train_epoch_end` whether the epoch that ends is the last one, whatever ends the run:
# max_epochs, max_steps or early stopping. `trainer.fit_loop.done` is a public property without arguments.
# One would guess: reading a property changes nothing.
# Seen: at the end of the last epoch, reading it counts the epoch as completed. The checkpoint that ModelCheckpoint then
# writes is named `epoch=3` instead of `epoch=2`, holds epoch 3 in its content, and Lightning prints twice that the fit
# has stopped. All epochs before the last are as usual.
# Why it matters: scripts find checkpoints by the epoch in their name, and a run with a progress bar or monitor that
# reads the property leaves other files than the same run without it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cat > "$work/check.py" <<'PYTHON'
import logging
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

messages: list[str] = []


class Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        messages.append(record.getMessage())


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class AsksForTheEnd(Callback):
    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.is_last = trainer.fit_loop.done


def fit(*callbacks: Callback) -> tuple[str, int, int]:
    messages.clear()
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=3, callbacks=list(callbacks), **options)
    rows = TensorDataset(torch.ones(4, 1), torch.ones(4, 1))
    trainer.fit(Model(), DataLoader(rows))
    path = Path(trainer.checkpoint_callback.best_model_path)
    stops = sum("stopped" in message for message in messages)
    return path.name, torch.load(path, weights_only=True)["epoch"], stops


logging.getLogger("lightning.pytorch.utilities.rank_zero").addHandler(Listener())
alone, asked = fit(), fit(AsksForTheEnd())
print("file, epoch in it, messages of the end; nobody asks:", alone)
print("file, epoch in it, messages of the end; one asks:   ", asked)
assert alone == ("epoch=2-step=12.ckpt", 2, 1), alone
assert asked == ("epoch=3-step=12.ckpt", 3, 2), asked
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
