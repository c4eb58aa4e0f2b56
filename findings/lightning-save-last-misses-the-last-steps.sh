#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0, Python 3.11.
#
# `ModelCheckpoint(save_last=True, every_n_train_steps=10)` saves every ten steps, and `last.ckpt`.
# One would guess: `last.ckpt` holds the last weights of the run, or always those of the last multiple of ten.
# Seen: after 9 steps it holds step 9, after 10 steps step 10, and after 19 steps still step 10. The end of a fit writes
# `last.ckpt` only if the run has saved nothing before, so a longer run loses what a shorter one keeps.
# Why it matters: `last.ckpt` is what people evaluate and resume. A trial run too short for its first checkpoint shows that
# the final weights are kept; the real run then drops up to n - 1 steps. The same holds for `train_time_interval`, where
# it may be an hour of training.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cat > "$work/check.py" <<'PYTHON'
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def step_of_last(steps: int) -> int:
    saver = ModelCheckpoint(dirpath=f"run{steps}", save_last=True, every_n_train_steps=10)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=steps, callbacks=[saver], **options)
    trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(99, 1), torch.ones(99, 1))))
    return torch.load(f"run{steps}/last.ckpt", weights_only=True)["global_step"]


seen = {steps: step_of_last(steps) for steps in (9, 10, 19)}
print("steps of the run: step in last.ckpt", seen)
assert seen == {9: 9, 10: 10, 19: 10}, seen
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
