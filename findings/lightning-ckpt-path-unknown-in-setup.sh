#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0, Python 3.11.
#
# `trainer.fit(model, data, ckpt_path="run.ckpt")` resumes a run. A module wants to know, before it makes or downloads
# its initial weights, whether a checkpoint is about to replace them.
# One would guess: `trainer.ckpt_path` says so from the start, since the user has just passed it.
# Seen: it is None in the hooks `setup` and `configure_model`, where weights are made, and has the path from
# `on_fit_start` on. The same holds for validate.
# Why it matters: `if self.trainer.ckpt_path is None: load_pretrained()` in `setup` runs in every resumed run too, and
# a refusal such as "give a checkpoint" in `setup` refuses users who gave one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cat > "$work/check.py" <<'PYTHON'
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

known: dict[str, bool] = {}


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def note(self, hook: str) -> None:
        known[hook] = self.trainer.ckpt_path is not None

    def setup(self, stage: str) -> None:
        self.note("setup")

    def configure_model(self) -> None:
        self.note("configure_model")

    def on_fit_start(self) -> None:
        self.note("on_fit_start")

    def on_validation_start(self) -> None:
        self.note("on_validation_start")

    def training_step(self, batch, batch_idx):
        return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

    def validation_step(self, batch, batch_idx) -> None:
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(epochs: int) -> Trainer:
    return Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False)


rows = DataLoader(TensorDataset(torch.ones(4, 1), torch.ones(4, 1)))
first = trainer(1)
first.fit(Model(), rows)
path = first.checkpoint_callback.best_model_path

trainer(2).fit(Model(), rows, ckpt_path=path)
print("fit with ckpt_path:", known)
assert known == {"setup": False, "configure_model": False, "on_fit_start": True}, known

known.clear()
trainer(1).validate(Model(), rows, ckpt_path=path, verbose=False)
print("validate with ckpt_path:", known)
assert known == {"setup": False, "configure_model": False, "on_validation_start": True}, known
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
