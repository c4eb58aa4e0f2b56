"""The state of torch's generators, so that a resumed fit draws what the whole fit would."""

from typing import final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


@final
class RandomState(Callback):
    """Keeps the state of torch's generators in each checkpoint, and sets it where a fit resumes.

    Dropout and other random layers then draw the same numbers as in a fit without a break. Several
    processes all go on with the state of the first one. Without CUDA now or then, only the CPU's
    generator is set.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, torch.Tensor]:
        state = {"cpu": torch.get_rng_state()}
        return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        self._resumed = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if "cpu" in self._resumed:
            torch.set_rng_state(self._resumed["cpu"].cpu())
        if "cuda" in self._resumed and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(self._resumed["cuda"].cpu(), pl_module.device)
        self._resumed = {}
