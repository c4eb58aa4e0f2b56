"""Print the seconds of an epoch of SGD over 4M x 20 float32 rows: the fastest one of a fit.

    python descent.py PROCESSES BATCH_SIZE EPOCHS

BATCH_SIZE is of one process. Each process computes on one thread. The start of the processes is
not counted.
"""

import logging
import sys
import time
import warnings

import torch
from lightning.pytorch import Callback, Trainer

import linreg_lightning as ll

ROWS, COLUMNS = 4_000_000, 20


class Clock(Callback):
    """Takes the time of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.start)


if __name__ == "__main__":
    processes, batch_size, epochs = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    x = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    data = ll.TensorData(x, x.sum(dim=1), batch_size=batch_size, shuffle=False)
    clock = Clock()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        callbacks=[ll.TightLoop(), clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ll.LinearRegression(0.01), data)
    if trainer.is_global_zero:
        print(min(clock.seconds))
