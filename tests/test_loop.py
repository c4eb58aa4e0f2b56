"""A run with TightLoop has the same results as a run with the Trainer alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from third_party import unusual
from third_party.small import (
    BATCHES,
    LineSearch,
    LogsAtSomeSteps,
    LogsInEveryWay,
    MakeTrainer,
    ManualOptimization,
    Plateau,
    Recorder,
    Scheduled,
    SkipsOneStep,
    Small,
    StopsItself,
    assert_same,
    fitted,
    loaders,
    rows,
)
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from linreg_lightning import (
    Batch,
    InputError,
    LinearRegression,
    ManualLinearRegression,
    SyntheticData,
    TensorData,
    TightLoop,
)

GROUPED = [
    (Small, {}),
    (Small, {"max_steps": 37, "max_epochs": -1}),
    (Small, {"val_check_interval": 7, "log_every_n_steps": 1}),
    (Small, {"val_check_interval": 9, "check_val_every_n_epoch": None, "limit_train_batches": 20}),
    (Small, {"limit_val_batches": 0, "logger": False}),
    (Small, {"precision": "bf16-mixed"}),
    (Small, {"precision": "64-true"}),
    (Scheduled, {"gradient_clip_val": 0.1}),
    (Scheduled, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
    (Plateau, {"max_epochs": 8}),
    (LogsInEveryWay, {}),
    (LogsInEveryWay, {"log_every_n_steps": 1}),
    (LogsAtSomeSteps, {"precision": "64-true"}),
    (StopsItself, {}),
    (StopsItself, {"log_every_n_steps": 1}),
    (LineSearch, {}),
    (SkipsOneStep, {}),
    (ManualOptimization, {"max_steps": 30}),
    (unusual.UsesPlainOptimizer, {}),
    (unusual.TakesClosureByKeyword, {}),
    (unusual.OverridesOptimizerStep, {}),
    (unusual.AddsParameters, {}),
    (unusual.ReplacesTrainingStep, {}),
    (unusual.LogsByPosition, {}),
    (unusual.LogsStepAndEpoch, {}),
    (unusual.LogsAtOneStep, {}),
    (unusual.KeepsLogMethod, {}),
    (unusual.LogsThroughSuper, {"log_every_n_steps": 1}),
    (unusual.TwoStepsLater, {"max_steps": 31, "max_epochs": -1}),
]


@pytest.mark.parametrize(("model", "options"), GROUPED)
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*returned `None`")
def test_a_tight_loop_changes_no_bit_of_a_run(
    model: type, options: dict, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    def fit(tight: list[Callback]) -> dict[str, Any]:
        watch: list[Callback] = [LearningRateMonitor()]
        if options.get("logger") is False:
            watch = []
        return fitted(model, trainer, tight, watch, **options)[0]

    without = fit([])
    for steps in (4, 1000):
        group_sizes.clear()
        with_loop = fit([TightLoop(steps)])
        assert group_sizes
        assert max(group_sizes) <= steps
        assert_same(with_loop, without)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Small, unusual.loader_with_missing_batches),
        (ManualOptimization, unusual.loader_with_missing_batches),
        (Small, unusual.shorter_loader),
        (unusual.UsesOneOfTwoBatches, unusual.two_loaders),
        (unusual.ChangesBatch, unusual.reused_batches),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:.*yielded None", "ignore:.*`__len__`", "ignore:.*val_dataloader"
)
def test_a_tight_loop_changes_no_bit_with_unusual_loaders(
    model: type, data: Callable[[], Any], trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    without, _ = fitted(model, trainer, [], [], data=data)
    for steps in (4, 1000):
        group_sizes.clear()
        with_loop, _ = fitted(model, trainer, [TightLoop(steps)], [], data=data)
        assert group_sizes
        assert_same(with_loop, without)


@pytest.mark.parametrize(
    ("model", "every"), [(Scheduled, 6), (Scheduled, 10), (unusual.TwoStepsLater, 3)]
)
def test_checkpoints_are_written_at_the_same_steps_with_the_same_contents(
    model: type, every: int, trainer: MakeTrainer, tmp_path: Path, group_sizes: list[int]
) -> None:
    saved = []
    for name, tight in (("with", [TightLoop(8)]), ("without", [])):
        checkpoint = ModelCheckpoint(
            tmp_path / name, "{step}", save_top_k=-1, every_n_train_steps=every
        )
        left, _ = fitted(
            model, trainer, tight, [checkpoint], enable_checkpointing=True, max_epochs=2
        )
        saved.append((left, sorted((tmp_path / name).iterdir())))
    assert group_sizes
    assert_same(saved[0][0], saved[1][0])
    assert [path.name for path in saved[0][1]] == [path.name for path in saved[1][1]]
    assert len(saved[0][1]) >= 2 * BATCHES // every
    for one, other in zip(saved[0][1], saved[1][1], strict=True):
        contents = [torch.load(path, weights_only=False) for path in (one, other)]
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
            assert_same(contents[0][key], contents[1][key])


def test_a_run_resumed_within_an_epoch_gives_the_result_of_an_uninterrupted_run(
    trainer: MakeTrainer, tmp_path: Path
) -> None:
    def fit(tight: list[Callback], ckpt_path: Path | None, **options: Any) -> tuple[Any, Trainer]:
        torch.manual_seed(0)
        model, data = LinearRegression(), SyntheticData(batch_size=7)
        runner = trainer(callbacks=tight, **options)
        runner.fit(model, data, ckpt_path=ckpt_path)
        return model, runner

    whole, _ = fit([TightLoop(1)], None, max_epochs=4)
    middle = ModelCheckpoint(tmp_path, "middle", every_n_train_steps=38)
    fit([TightLoop(5), middle], None, max_steps=40, enable_checkpointing=True)
    again, runner = fit([TightLoop(4)], tmp_path / "middle.ckpt", max_epochs=4)
    assert runner.global_step == 4 * 15
    assert again.coefficients() == whole.coefficients()


def test_a_run_resumed_after_a_validation_validates_on_all_batches(
    trainer: MakeTrainer, tmp_path: Path, group_sizes: list[int]
) -> None:
    batches: list[int] = []

    class Validated(LinearRegression):
        def validation_step(self, batch: Batch, batch_idx: int) -> None:
            batches.append(self.global_step)
            super().validation_step(batch, batch_idx)

    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    data = TensorData(x, x.sum(dim=1), val_fraction=0.25, batch_size=10)
    options = {"val_check_interval": 10, "num_sanity_val_steps": 0, "max_epochs": 1}
    saved = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_top_k=-1)
    runner = trainer(callbacks=[saved], enable_checkpointing=True, **options)
    runner.fit(Validated(lr=0.01), data)
    batches.clear()
    trainer(callbacks=[TightLoop(8)], **options).fit(
        Validated(lr=0.01), data, ckpt_path=tmp_path / "step=10.ckpt"
    )
    assert group_sizes
    assert batches == [20] * 10 + [30] * 10


def test_steps_over_iterable_datasets_of_known_end_are_grouped(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[list[Tensor]]:
            yield from DataLoader(rows(), batch_size=8)

    class Sized(Stream):
        def __len__(self) -> int:
            return BATCHES

    for data, options in ((Sized(), {}), (Stream(), {"limit_train_batches": 20})):
        group_sizes.clear()
        runner = trainer(max_epochs=1, callbacks=[TightLoop(8)], **options)
        runner.fit(Small(), DataLoader(data, batch_size=None))
        assert group_sizes
        assert runner.global_step == options.get("limit_train_batches", BATCHES)


def test_values_reach_the_logger_when_a_step_fails(trainer: MakeTrainer) -> None:
    class Fails(Small):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            if batch_idx == 12:
                raise ArithmeticError("enough")
            return super().training_step(batch, batch_idx)

    logger = Recorder()
    runner = trainer(logger=logger, log_every_n_steps=5, callbacks=[TightLoop(20)])
    with pytest.raises(ArithmeticError, match="enough"):
        runner.fit(Fails(), *loaders())
    assert [step for step, _ in logger.rows] == [4, 9]
    again = Recorder()
    runner.loggers = [again]
    runner.fit(Small(), *loaders())
    assert runner.fit_loop.epoch_loop.advance.__name__ == "advance"


class RecordsOnException(Callback):
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        metrics = dict(trainer.callback_metrics)
        self.recorded = metrics, trainer.fit_loop.state_dict(), trainer.global_step


@pytest.mark.parametrize("logs", [False, True])
@pytest.mark.parametrize("step", [26, 34])
def test_a_failing_step_leaves_the_same_state_as_without_a_tight_loop(
    logs: bool, step: int, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    class Fails(Small):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx) if logs else None
            if self.global_step == step:
                raise ArithmeticError("enough")
            return loss if logs else super().training_step(batch, batch_idx)

    recorded = []
    for tight in ([TightLoop(8)], []):
        recorder = RecordsOnException()
        with pytest.raises(ArithmeticError, match="enough"):
            fitted(Fails, trainer, tight, [recorder])
        recorded.append(recorder.recorded)
    assert group_sizes
    assert_same(*recorded)


def test_fast_steps_are_grouped_and_slow_ones_are_not(
    trainer: MakeTrainer, group_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    class Slow(Small):
        seconds = 0.001

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            nonlocal now
            now += self.seconds
            return super().training_step(batch, batch_idx)

    class Slower(Slow):
        seconds = 0.03

    monkeypatch.setattr("time.perf_counter", lambda: now)
    options = {"max_epochs": 4, "limit_val_batches": 0}
    fitted(Slow, trainer, [TightLoop()], [], **options)
    assert group_sizes == [BATCHES - 1, BATCHES, BATCHES, BATCHES]
    group_sizes.clear()
    fitted(Slower, trainer, [TightLoop()], [], **options)
    assert not group_sizes


@pytest.mark.parametrize("model", [LinearRegression, ManualLinearRegression])
def test_models_of_this_package_take_steps_in_groups(
    model: type, trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    answers = []
    for steps in (1, 8):
        torch.manual_seed(0)
        fit = model()
        trainer(max_epochs=20, callbacks=[TightLoop(steps)]).fit(fit, SyntheticData(batch_size=5))
        answers.append(fit.coefficients())
        assert bool(group_sizes) == (steps > 1)
    assert answers[0] == answers[1]


def test_an_invalid_number_of_steps_is_refused() -> None:
    with pytest.raises(InputError, match="steps: 0 was given; type a whole number above 0"):
        TightLoop(0)


def test_the_command_takes_steps_in_groups(
    command: Callable[..., dict[str, Any]], group_sizes: list[int]
) -> None:
    def answer(*words: str) -> dict[str, Any]:
        return command("fit --data.batch_size 4 --trainer.max_epochs 3", *words)

    one = answer()
    assert max(group_sizes) > 4
    group_sizes.clear()
    loop = "--trainer.callbacks+=linreg_lightning.tight_loop.TightLoop --trainer.callbacks.steps=1"
    other = answer(loop)
    assert not group_sizes
    assert one["coefficients"] == other["coefficients"]


def test_groups_of_steps_log_nothing_in_a_trainer_that_logs_nothing() -> None:
    weights = []
    for callbacks in ([], [TightLoop()]):
        torch.manual_seed(0)
        fit = Trainer(max_epochs=3, barebones=True, accelerator="cpu", callbacks=callbacks)
        fit.fit(model := LinearRegression(), SyntheticData(rows=40, batch_size=8, shuffle=False))
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    for alone, grouped in zip(*weights, strict=True):
        assert torch.equal(alone, grouped)
