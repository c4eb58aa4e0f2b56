"""The state of torch's generators, so that a resumed fit draws what the whole fit would."""

from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


@final
class RandomState(Callback):
    """Keeps the state of torch's generators in each checkpoint, and sets it where a fit resumes.

    Dropout and other random layers then draw the same numbers as in a fit without a break. A torch
    DataLoader goes on in the same orders if the fit resumes between epochs and its workers do not
    persist. Several processes all go on with the state of the first one. Without CUDA now or then,
    only the CPU's generator is set.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Any] = {}
        self._is_between_epochs = False

    def state_dict(self) -> dict[str, Any]:
        state = {"cpu": torch.get_rng_state(), "between_epochs": self._is_between_epochs}
        return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Then the Trainer begins the epoch, and a torch DataLoader draws its order and its seeds.
        if self._resumed.get("between_epochs"):
            self._restore(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_between_epochs = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_between_epochs = True

    def _restore(self, model: LightningModule) -> None:
        if "cpu" in self._resumed:
            torch.set_rng_state(self._resumed["cpu"].cpu())
        if "cuda" in self._resumed and model.device.type == "cuda":
            torch.cuda.set_rng_state(self._resumed["cuda"].cpu(), model.device)
        self._resumed = {}
