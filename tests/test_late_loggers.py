"""Loggers that are called late get the same, in the same order, and are left as they were."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from outside.small import BATCHES, MakeTrainer, Recorder, Small, loaders

from linreg_lightning import TightLoop
from linreg_lightning.loop import late_loggers
from linreg_lightning.loop.late_loggers import CALL_SECONDS, SAVE_SECONDS, LateLoggers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(late_loggers, "time", clock)
    return clock


class Both(Recorder):
    """Keeps when it is saved, too, among what is logged."""

    def save(self) -> None:
        self.rows.append((-1, {}))


def test_calls_are_made_when_it_is_time_in_their_order(clock: Any) -> None:
    logger, other = Both(), Recorder()
    late = LateLoggers([logger, other, logger])
    metrics = {"loss": 1.0}
    logger.log_metrics(metrics, step=1)
    logger.save()
    metrics["loss"] = 2.0
    logger.log_metrics(metrics=metrics, step=2)
    other.log_metrics(metrics, 3)
    late.look()
    assert not logger.rows
    clock.now = 1.01 * CALL_SECONDS
    late.look()
    assert logger.rows == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]
    assert other.rows == [(3, {"loss": 2.0})]
    clock.now = 1.01 * SAVE_SECONDS
    logger.log_metrics(metrics, 4)
    assert logger.rows[2:] == [(4, {"loss": 2.0}), (-1, {})]
    late.end()
    assert len(logger.rows) == 4


def test_what_may_change_is_not_kept(clock: Any) -> None:
    logger = Recorder()
    late = LateLoggers([logger])
    logger.log_metrics({"loss": 1.0}, 1)
    logger.log_metrics({"loss": torch.ones(())}, 2)
    assert [step for step, _ in logger.rows] == [1, 2]
    late.end()


def test_methods_of_an_instance_come_back(clock: Any) -> None:
    logger, calls = Recorder(), []
    logger.log_metrics = own = lambda metrics, step: calls.append(step)
    late = LateLoggers([logger])
    logger.log_metrics({}, 1)
    logger.save()
    late.end()
    assert calls == [1]
    assert logger.log_metrics is own
    assert "save" not in vars(logger)
    late.end()


def test_a_logger_that_fails_is_left_as_it_was(clock: Any) -> None:
    class Full(Recorder):
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            raise OSError("no space left")

    logger = Full()
    late = LateLoggers([logger])
    logger.log_metrics({"loss": 1.0}, 1)
    with pytest.raises(OSError, match="no space"):
        late.end()
    assert not vars(logger).keys() & {"log_metrics", "save"}
    late.end()


def test_a_validation_finds_all_called(clock: Any, trainer: MakeTrainer) -> None:
    logger, found = Recorder(), []

    class Looks(Callback):
        def on_validation_epoch_start(self, *_: Any) -> None:
            found.append(len(logger.rows))

    runner = trainer(
        logger=logger,
        log_every_n_steps=2,
        max_epochs=2,
        num_sanity_val_steps=0,
        callbacks=[TightLoop(8), Looks()],
    )
    runner.fit(Small(), *loaders())
    assert found[0] == BATCHES // 2
    assert len(logger.rows) > found[1] > found[0]


def test_loggers_save_behind_a_fit_what_they_would_have_saved(
    clock: Any, trainer: MakeTrainer
) -> None:
    runner = trainer(
        logger=CSVLogger("written"), log_every_n_steps=2, max_epochs=2, callbacks=[TightLoop(8)]
    )
    saves = []
    save = CSVLogger.save
    runner.logger.finalize = lambda status: saves.append("finalize")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CSVLogger, "save", lambda self: (saves.append("save"), save(self)))
        runner.fit(Small(), *loaders())
    assert saves[-2:] == ["save", "finalize"]
    assert len(saves) < 5
    lines = Path(runner.logger.log_dir, "metrics.csv").read_text().splitlines()
    steps = {line.split(",")[lines[0].split(",").index("step")] for line in lines[1:]}
    assert {str(step) for step in range(1, 2 * BATCHES, 2)} <= steps
