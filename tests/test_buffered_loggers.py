"""Buffered loggers get the same calls later, in the same order, and get their methods back."""

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from third_party.small import BATCHES, MakeTrainer, Recorder, Small, loaders

from linreg_lightning import TightLoop
from linreg_lightning.tight_loop import buffered_loggers
from linreg_lightning.tight_loop.buffered_loggers import (
    SAVE_SECONDS,
    WRITE_SECONDS,
    BufferedLoggers,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(buffered_loggers, "time", clock)
    return clock


class Board(TensorBoardLogger):
    """Records each logged value, and each save as step -1."""

    def __init__(self) -> None:
        super().__init__("boards", default_hp_metric=False)
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(
        self, metrics: dict[str, float], step: int | None = None, prefix: str = ""
    ) -> None:
        self.rows.append((step or 0, {prefix + name: value for name, value in metrics.items()}))

    def save(self) -> None:
        self.rows.append((-1, {}))


def test_buffered_calls_are_made_in_order_once_they_are_due(clock: Any) -> None:
    logger, other = Board(), Board()
    buffered = BufferedLoggers([logger, other, logger])
    metrics = {"loss": 1.0}
    logger.log_metrics(metrics, step=1)
    logger.save()
    metrics["loss"] = 2.0
    logger.log_metrics(metrics=metrics, step=2, prefix="my/")
    other.log_metrics(metrics, 3)
    buffered.write_if_due()
    assert not logger.rows
    clock.now = 1.01 * WRITE_SECONDS
    buffered.write_if_due()
    assert logger.rows == [(1, {"loss": 1.0}), (2, {"my/loss": 2.0})]
    assert other.rows == [(3, {"loss": 2.0})]
    clock.now = 1.01 * SAVE_SECONDS
    logger.log_metrics(metrics, 4)
    assert logger.rows[2:] == [(4, {"loss": 2.0}), (-1, {})]
    buffered.restore()
    assert len(logger.rows) == 4


def test_values_that_can_change_are_not_buffered(clock: Any) -> None:
    logger = Board()
    buffered = BufferedLoggers([logger])
    logger.log_metrics({"loss": 1.0}, 1)
    logger.log_metrics({"loss": torch.ones(())}, 2)
    assert [step for step, _ in logger.rows] == [1, 2]
    buffered.restore()


def test_loggers_of_other_types_are_called_at_once(clock: Any) -> None:
    logger = Recorder()
    buffered = BufferedLoggers([logger])
    logger.log_metrics({"loss": 1.0}, step=1)
    assert logger.rows
    buffered.restore()


def test_restore_brings_back_methods_set_on_the_logger(clock: Any) -> None:
    logger, calls = Board(), []
    logger.log_metrics = original = lambda metrics, step: calls.append(step)
    buffered = BufferedLoggers([logger])
    logger.log_metrics({}, 1)
    logger.save()
    buffered.restore()
    assert calls == [1]
    assert logger.log_metrics is original
    assert "save" not in vars(logger)
    buffered.restore()


def test_a_failing_call_is_lost_and_later_calls_are_kept(clock: Any) -> None:
    class Full(Board):
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            if step == 1:
                raise OSError("no space left")
            super().log_metrics(metrics, step)

    logger = Full()
    buffered = BufferedLoggers([logger])
    for step in (1, 2):
        logger.log_metrics({"loss": 1.0}, step)
    with pytest.raises(OSError, match="no space"):
        buffered.restore()
    assert not vars(logger).keys() & {"log_metrics", "save"}
    assert not logger.rows
    buffered.restore()
    assert logger.rows == [(2, {"loss": 1.0})]


def test_all_buffered_calls_are_made_before_a_validation(clock: Any, trainer: MakeTrainer) -> None:
    logger, calls_before_validation = Board(), []

    class CountCalls(Callback):
        def on_validation_epoch_start(self, *_: Any) -> None:
            calls_before_validation.append(sum(step >= 0 for step, _ in logger.rows))

    runner = trainer(
        logger=logger,
        log_every_n_steps=2,
        max_epochs=2,
        num_sanity_val_steps=0,
        callbacks=[TightLoop(8), CountCalls()],
    )
    runner.fit(Small(), *loaders())
    assert calls_before_validation[0] == BATCHES // 2
    assert len(logger.rows) > calls_before_validation[1] > calls_before_validation[0]
    assert logger.rows[-1] == (-1, {})


def test_a_fit_within_a_fit_can_share_its_tight_loop_and_logger(
    clock: Any, trainer: MakeTrainer
) -> None:
    logger, tight = Board(), TightLoop(8)
    options = {"logger": logger, "log_every_n_steps": 2, "max_epochs": 2}

    class FitAgain(Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            trainer(callbacks=[tight], **options).fit(Small(), loaders()[0])

    trainer(callbacks=[tight, FitAgain()], **options).fit(Small(), loaders()[0])
    assert sum(step >= 0 for step, _ in logger.rows) >= 3 * 2 * (BATCHES // 2)
    assert not vars(logger).keys() & {"log_metrics", "save"}


def test_a_module_can_be_copied_within_its_training_step(trainer: MakeTrainer) -> None:
    copies = []

    class CopiesItself(Small):
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
            if batch_idx == 3:
                copies.append(copy.deepcopy(self))
            return super().training_step(batch, batch_idx)

    module = CopiesItself()
    trainer(max_epochs=1, callbacks=[TightLoop(8)]).fit(module, loaders()[0])
    assert [each.log.__self__ for each in copies] == copies
