"""FitPlots: when it draws, which rows it draws, and that it does not change the run."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from third_party.plain import CubicData, CubicModel
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import (
    Batch,
    InputError,
    LeastSquares,
    LinearRegression,
    RunLogger,
    SyntheticData,
    TabularData,
    TensorData,
    TightLoop,
    cli,
)
from linreg_lightning.callbacks import (
    CoefficientFile,
    CoefficientMonitor,
    CustomScalars,
    DescentMonitor,
    FitMonitor,
    FitPlots,
    RunSummary,
    row_sampler,
    run_progress_bar,
)
from linreg_lightning.callbacks.row_sampler import RowSample, sample_rows
from linreg_lightning.plots import confusion_matrix, image_grid, png

MakeTrainer = Callable[..., Trainer]
Command = Callable[..., dict[str, Any]]
Refused = Callable[..., str]


@pytest.fixture
def blank_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace each rendered figure by a blank image, because rendering takes most of the time."""
    blank = png(Figure(figsize=(1, 1), dpi=10))
    monkeypatch.setattr("linreg_lightning.plots.png", lambda figure: blank)


def pictures(folder: str = ".") -> set[str]:
    return {path.stem for path in Path(folder).glob("**/*.png")}


def images(folder: str) -> dict[str, list[int]]:
    accumulator = EventAccumulator(folder, size_guidance={"images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["images"]
    return {tag: [image.step for image in accumulator.Images(tag)] for tag in tags}


# When plots are drawn


@pytest.mark.usefixtures("blank_images")
def test_plots_are_drawn_after_chosen_epochs_and_at_the_end(trainer: MakeTrainer) -> None:
    runner = trainer(max_epochs=5, logger=RunLogger(), callbacks=[FitPlots(epochs=[1, 3])])
    runner.fit(LinearRegression(), SyntheticData(batch_size=25))
    all_plots = ("predicted", "residuals", "coefficients", "descent")
    assert images("logs/version_0") == {name: [4, 12, 20] for name in all_plots}
    assert pictures("logs") == set(all_plots)
    assert not list(Path().glob("**/*-part*"))


@pytest.mark.usefixtures("blank_images")
def test_each_of_several_targets_has_its_own_plots(trainer: MakeTrainer) -> None:
    runner = trainer(max_epochs=2, logger=RunLogger(), callbacks=[FitPlots()])
    runner.fit(LinearRegression(), SyntheticData(targets=5))
    assert set(images("logs/version_0")) == {
        f"{name}/y{k}"
        for name in ("predicted", "residuals", "coefficients", "descent")
        for k in (1, 2, 3, 4)
    }
    assert "predicted-4" in pictures()


def test_a_fast_dev_run_draws_nothing(trainer: MakeTrainer) -> None:
    trainer(fast_dev_run=True, callbacks=[FitPlots()]).fit(LinearRegression(), SyntheticData())
    assert not list(Path().iterdir())


def test_without_a_logger_plots_are_in_the_root_folder(command: Command) -> None:
    command(
        "fit --trainer.logger false --trainer.default_root_dir here --trainer.max_epochs 2",
        "--figures true",
    )
    assert "predicted" in {path.stem for path in Path("here").glob("*.png")}


CONFIG = """
trainer:
  max_epochs: 4
  callbacks:
    - class_path: linreg_lightning.callbacks.FitPlots
      init_args: {epochs: [2], coefficients: [intercept, x2]}
"""


@pytest.mark.usefixtures("blank_images")
def test_plots_configured_in_yaml_can_be_turned_off(command: Command) -> None:
    Path("drawing.yaml").write_text(CONFIG)
    command("fit -c drawing.yaml --figures true")
    assert images("logs/version_0")["descent"] == [2, 4]
    command("fit -c drawing.yaml --figures false")
    assert images("logs/version_1") == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": [0]}, "epochs: .* whole numbers above 0"),
        ({"rows": 0}, "rows: 0 was given"),
        ({"coefficients": ["x1"]}, "coefficients: .* type the names of two"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FitPlots(**options)


def test_an_unknown_coefficient_is_refused(trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match="no 'x9'; it has intercept, x1, x2"):
        trainer(callbacks=[FitPlots(coefficients=["x1", "x9"])]).fit(
            LinearRegression(), SyntheticData()
        )


# Which models have which plots


class Classifier(CubicModel):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        return torch.nn.functional.binary_cross_entropy_with_logits(self(x)[:, 0], y.float())


class CannotPredict(LightningModule):
    """Has neither `forward` nor `predict_step`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (batch[1] - self.weight * batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_plots_that_do_not_apply_to_a_model_are_left_out(trainer: MakeTrainer) -> None:
    x = torch.randn(40, 1)
    labels = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=20)
    rows = DataLoader(TensorDataset(x, 2 * x), batch_size=20)
    for model, data, expected in (
        (Classifier(), labels, set()),
        (CannotPredict(), rows, set()),
        (CubicModel(), rows, {"predicted", "residuals"}),
    ):
        name = type(model).__name__
        runner = trainer(max_epochs=2, default_root_dir=name, callbacks=[FitPlots()])
        runner.fit(model, data)
        assert pictures(name) == expected


class OtherMeanings(CubicModel):
    """Its attribute `coefficients` is a layer, and `feature_names` is a number."""

    feature_names = 3
    fit_statistics = "none"

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = torch.nn.Linear(1, 1)


def test_attributes_with_our_names_but_another_meaning_are_ignored(trainer: MakeTrainer) -> None:
    callbacks = [FitPlots(), CoefficientMonitor(), CoefficientFile(), CustomScalars(), FitMonitor()]
    runner = trainer(max_epochs=1, logger=RunLogger(), callbacks=[*callbacks, RunSummary()])
    runner.fit(OtherMeanings(), CubicData())
    assert pictures() == {"predicted", "residuals"}
    assert not list(Path().glob("**/coefficients.json"))


class FailsToPredict(CubicModel):
    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        raise RuntimeError("not\ntoday")


def test_a_model_that_cannot_predict_is_still_fitted(trainer: MakeTrainer) -> None:
    runner = trainer(max_epochs=1, callbacks=[FitPlots()])
    with pytest.warns(UserWarning, match="predicting rows failed: RuntimeError: not today") as seen:
        runner.fit(FailsToPredict(), CubicData())
    assert len([each for each in seen if "FitPlots" in str(each.message)]) == 1
    assert runner.state.finished
    assert not pictures()


@pytest.mark.filterwarnings("error:.*(FitPlots|searchsorted)")
@pytest.mark.usefixtures("blank_images")
def test_a_fit_that_absorbed_effects_draws_its_coefficients_alone(trainer: MakeTrainer) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 3)), columns=["a", "b", "y"])
    frame["shop"], frame["day"] = np.arange(60) // 6, [f"day {k % 6}" for k in range(60)]
    data = TabularData(frame, "y", absorb=["shop", "day"])
    trainer(max_epochs=3, callbacks=[FitPlots()]).fit(LeastSquares(), data)
    assert pictures() == {"coefficients"}


@pytest.mark.usefixtures("blank_images")
def test_a_full_disk_does_not_stop_the_fit(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    model = LinearRegression()
    with pytest.warns(UserWarning, match="not all plots .*No space left on device") as seen:
        trainer(max_epochs=2, callbacks=[FitPlots(), CoefficientFile()]).fit(model, SyntheticData())
    assert len([each for each in seen if "FitPlots" in str(each.message)]) == 1
    assert not list(Path().glob("**/*.p*"))
    assert list(Path().glob("**/coefficients.json"))


@pytest.mark.usefixtures("blank_images")
@pytest.mark.parametrize("model", [LeastSquares, LinearRegression])
def test_unusual_rows_are_drawn(trainer: MakeTrainer, model: Callable[[], LightningModule]) -> None:
    x = torch.randn(30, 3)
    for name, data in {
        "constant": TensorData(x, torch.full((30,), 7.0)),
        "two rows": TensorData(x[:2, :1], torch.tensor([1.0, 2.0])),
        "one column": TensorData(x[:, :1], x[:, 1]),
        "collinear": TensorData(torch.cat([x, x], 1), x[:, 1]),
        "weighted": TensorData(x, x[:, 1], weight=torch.rand(30)),
    }.items():
        runner = trainer(max_epochs=3, default_root_dir=name, callbacks=[FitPlots()])
        runner.fit(model(), data)
        assert {"predicted", "residuals", "coefficients"} <= pictures(name)
        assert ("descent" in pictures(name)) == (model is LinearRegression)


# Figures of a model's own task


class ImageClassifier(LightningModule):
    """Classes of images of 4 x 4 pixels; it keeps what its `figures` receives."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.class_names = [f"class {k}" for k in range(classes)]
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, classes))
        self.received: list[Any] = []
        self.batch_sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(x))
        prediction: torch.Tensor = self.layers(x)
        return prediction

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1].long())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        correct = self(batch[0]).argmax(1) == batch[1]
        self.log("val_accuracy", correct.float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def figures(self, x: Any, y: Any, prediction: Any, caption: str) -> dict[str, Figure]:
        self.received = [x, y, prediction, caption]
        classes = prediction.argmax(1)
        titles = [self.class_names[k] for k in classes]
        return {
            "confusion": confusion_matrix(y.long(), classes, self.class_names, caption),
            "images/wrong": image_grid(x, titles, caption, wrong=classes != y),
        }


def image_rows(count: int, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 4, 4, generator=generator)
    return TensorDataset(x, x.flatten(1)[:, :3].argmax(1))


def test_a_model_draws_the_figures_of_its_task_on_validation_rows(trainer: MakeTrainer) -> None:
    model, validation = ImageClassifier(), image_rows(30, seed=1)
    runner = trainer(max_epochs=2, logger=RunLogger(), callbacks=[FitPlots()])
    runner.fit(model, DataLoader(image_rows(40), batch_size=8), DataLoader(validation))
    assert images("logs/version_0") == {"confusion": [10], "images/wrong": [10]}
    assert pictures() == {"confusion", "images-wrong"}
    x, y, prediction, caption = model.received
    torch.testing.assert_close((x, y), validation.tensors)
    torch.testing.assert_close(prediction, model(x).detach())
    assert not prediction.requires_grad
    assert caption == "Step 10. All 30 validation rows."


@pytest.mark.usefixtures("blank_images")
def test_without_validation_the_figures_show_training_rows(trainer: MakeTrainer) -> None:
    model = ImageClassifier()
    runner = trainer(max_epochs=1, callbacks=[FitPlots(rows=25)])
    runner.fit(model, DataLoader(image_rows(40), batch_size=8))
    x, y, prediction, caption = model.received
    assert (len(x), len(y), len(prediction)) == (25, 25, 25)
    assert caption == "Step 5. 25 of 40 training rows, drawn at random."
    # The device has had room for batches of 8 images, but not for more.
    assert max(model.batch_sizes) == 8


@pytest.mark.usefixtures("blank_images")
def test_numbers_of_classes_have_no_plots_of_a_regression(trainer: MakeTrainer) -> None:
    x, y = image_rows(40).tensors
    rows = DataLoader(TensorDataset(x, (y > 0).float().unsqueeze(1)), batch_size=8)

    class Logistic(ImageClassifier):
        figures = None

        def __init__(self, class_names: list[str]) -> None:
            super().__init__(classes=1)
            self.class_names = class_names

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y = batch
            return torch.nn.functional.binary_cross_entropy_with_logits(self(x), y)

    for names, expected in ((["no", "yes"], set()), ([], {"predicted", "residuals"})):
        root = f"{len(names)} classes"
        runner = trainer(max_epochs=1, default_root_dir=root, callbacks=[FitPlots()])
        runner.fit(Logistic(names), rows)
        assert pictures(root) == expected


class OwnResiduals(LinearRegression):
    def figures(self, x: Any, y: Any, prediction: Any, caption: str) -> dict[str, Figure]:
        return {"residuals": Figure(figsize=(2, 1), dpi=100)}


class FailingFigures(LinearRegression):
    def figures(self, x: Any, y: Any, prediction: Any, caption: str) -> dict[str, Figure]:
        raise ValueError("no figure today")


def test_a_models_own_figure_replaces_the_one_of_the_same_name(trainer: MakeTrainer) -> None:
    trainer(max_epochs=2, callbacks=[FitPlots()]).fit(OwnResiduals(), SyntheticData())
    assert pictures() == {"predicted", "residuals", "coefficients", "descent"}
    assert Path("residuals.png").read_bytes()[16:20] == (200).to_bytes(4)


@pytest.mark.usefixtures("blank_images")
def test_figures_that_fail_leave_the_other_plots(trainer: MakeTrainer) -> None:
    with pytest.warns(UserWarning, match="not all plots .*ValueError: no figure today"):
        trainer(max_epochs=2, callbacks=[FitPlots()]).fit(FailingFigures(), SyntheticData())
    assert pictures() == {"predicted", "residuals", "coefficients", "descent"}


# The line of the only feature


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that receives the figures, which are not rendered."""
    seen: list[Figure] = []
    blank = png(Figure(figsize=(1, 1), dpi=10))
    monkeypatch.setattr("linreg_lightning.plots.png", lambda figure: seen.append(figure) or blank)
    return seen


def one_column(rows: int = 40, ones: bool = False, **options: Any) -> TensorData:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 1, generator=generator, dtype=torch.float64)
    y = 2 + 3 * x + torch.randn(rows, 1, generator=generator, dtype=torch.float64)
    columns = pd.DataFrame({"intercept": 1.0, "sqft": x[:, 0]} if ones else {"sqft": x[:, 0]})
    return TensorData(columns, pd.DataFrame({"price": y[:, 0]}), **options)


@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_bands_of_the_line_are_those_of_statsmodels(
    trainer: MakeTrainer, figures: list[Figure], ones: bool, weighted: bool
) -> None:
    weight = torch.linspace(0.5, 2, 40, dtype=torch.float64) if weighted else None
    data = one_column(ones=ones, weight=weight)
    runner = trainer(max_epochs=1, logger=RunLogger(), callbacks=[FitPlots()])
    runner.fit(LeastSquares(confidence=0.9), data)
    assert images("logs/version_0")["line"] == [1]
    axes = figures[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("sqft", "price")
    expected = "All 40 training rows. 90% bands."
    if weighted:
        expected += " The prediction band is for rows of weight 1."
    assert figures[0].get_supxlabel() == expected
    x, y, _ = data.splits["train"]
    x = x[:, -1].numpy()
    points, confidence, prediction = axes.collections
    np.testing.assert_allclose(points.get_offsets(), np.stack([x, y[:, 0]], 1))
    weights = np.ones(40) if weight is None else weight.numpy()
    reference = sm.WLS(y[:, 0].numpy(), sm.add_constant(x), weights=weights).fit()
    (fit,) = [each for each in axes.lines if each.get_label() == "fit"]
    grid = np.asarray(fit.get_xdata())
    assert (grid[0], grid[-1]) == pytest.approx((x.min(), x.max()))
    frame = reference.get_prediction(sm.add_constant(grid)).summary_frame(alpha=0.1)
    np.testing.assert_allclose(fit.get_ydata(), frame["mean"])
    for band, name in ((confidence, "mean_ci"), (prediction, "obs_ci")):
        box = band.get_datalim(axes.transData)
        assert box.y0 == pytest.approx(frame[f"{name}_lower"].min())
        assert box.y1 == pytest.approx(frame[f"{name}_upper"].max())


def test_a_descent_has_a_line_without_bands(trainer: MakeTrainer, figures: list[Figure]) -> None:
    model = LinearRegression()
    trainer(max_epochs=3, callbacks=[FitPlots(rows=50)]).fit(model, one_column(1000))
    assert {"line", "descent"} <= pictures()
    axes = figures[0].axes[0]
    assert len(axes.collections) == 1
    assert len(axes.collections[0].get_offsets()) == 50
    (fit,) = [each for each in axes.lines if each.get_label() == "fit"]
    x, y = (np.asarray(values) for values in fit.get_data())
    weight, intercept = model.weight_and_intercept()
    assert intercept is not None
    np.testing.assert_allclose(y, weight.item() * x + intercept.item(), rtol=1e-5, atol=1e-5)
    assert (np.diff(x) >= 0).all()
    expected = "Step 3. 50 of 1000 training rows, drawn at random."
    assert figures[0].get_supxlabel() == expected


@pytest.mark.usefixtures("blank_images")
def test_there_is_a_line_for_one_feature_alone(trainer: MakeTrainer) -> None:
    x, y = torch.randn(30, 2), torch.randn(30, 2)
    for name, data, expected in (
        ("two features", TensorData(x, y[:, 0]), set()),
        ("two targets", TensorData(x[:, :1], y), {"line-1", "line-2"}),
        ("no feature", TensorData(torch.ones(30, 1), y[:, 0], feature_names=["intercept"]), set()),
    ):
        trainer(max_epochs=1, default_root_dir=name, callbacks=[FitPlots()]).fit(
            LeastSquares(), data
        )
        assert {each for each in pictures(name) if each.startswith("line")} == expected
        assert pictures(name)


def test_captions_of_an_exact_fit_name_no_step(trainer: MakeTrainer, figures: list[Figure]) -> None:
    trainer(max_epochs=1, callbacks=[FitPlots()]).fit(LeastSquares(), SyntheticData())
    captions = [figure.get_supxlabel() for figure in figures]
    assert len(captions) == 3
    assert not [caption for caption in captions if "step" in caption.lower()]
    assert captions[2] == "95% confidence intervals."
    trainer(max_epochs=1, callbacks=[FitPlots()]).fit(LeastSquares(ridge=1.0), SyntheticData())
    assert figures[-1].get_supxlabel() == ""  # a penalty leaves no intervals


# Drawing does not change the run


class Shuffled(CubicData):
    """Data whose loader shuffles with its own generator and adds noise from numpy."""

    def train_dataloader(self) -> DataLoader:
        def noisy(rows: list[Any]) -> Any:
            x, y = (torch.stack(part) for part in zip(*rows, strict=True))
            return x + np.random.rand(), y

        generator = torch.Generator().manual_seed(3)
        options = {"shuffle": True, "collate_fn": noisy, "generator": generator}
        return DataLoader(self.rows, batch_size=16, **options)


class DrawsAtRandom(ImageClassifier):
    def figures(self, x: Any, y: Any, prediction: Any, caption: str) -> dict[str, Figure]:
        return super().figures(*(part[torch.randperm(9)] for part in (x, y, prediction)), caption)


@pytest.mark.usefixtures("blank_images")
@pytest.mark.parametrize("kind", ["ours", "outside", "images"])
def test_drawing_does_not_change_the_steps(trainer: MakeTrainer, kind: str) -> None:
    parameters = []
    for callbacks in ([], [FitPlots(epochs=[1, 2, 3]), DescentMonitor()]):
        seed_everything(0)
        model, data = {
            "ours": (LinearRegression(), SyntheticData(batch_size=16)),
            "outside": (CubicModel(), Shuffled()),
            "images": (DrawsAtRandom(), DataLoader(image_rows(40), batch_size=8, shuffle=True)),
        }[kind]
        trainer(max_epochs=4, logger=RunLogger(), callbacks=callbacks).fit(model, data)
        parameters.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*parameters)


def test_a_run_with_plots_still_takes_steps_in_groups(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    figures = FitPlots()
    runner = trainer(
        max_epochs=10,
        logger=RunLogger(),
        callbacks=[figures, DescentMonitor(), TightLoop()],
        log_every_n_steps=50,
    )
    runner.fit(LinearRegression(lr=0.01), SyntheticData(rows=200, batch_size=2))
    assert runner.global_step == 1000
    assert sum(group_sizes) > 900
    assert {"descent"} <= pictures()


# Which rows are drawn


class DoublesX(LightningModule):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, :1]


def draw(loader: Any, max_rows: int, batches: float = math.inf) -> RowSample | None:
    return sample_rows(loader, batches, Trainer(logger=False, barebones=True), DoublesX(), max_rows)


def test_few_rows_are_all_drawn_and_many_are_sampled() -> None:
    x = torch.arange(1.0, 1001.0).unsqueeze(1)
    rows = [Batch(part, part, part[:, 0]) for part in x.split(300)]
    all_rows = draw(LoaderWithoutLength(rows[:1]), 300)
    assert all_rows is not None
    torch.testing.assert_close(all_rows.x, rows[0].x)
    assert all_rows.describe("training") == "all 300 training rows"
    sample = draw(LoaderWithoutLength(rows), 200)
    assert sample is not None
    assert sample.describe("validation") == "200 of 1000 validation rows, drawn at random"
    assert len(sample.x.unique()) == 200
    torch.testing.assert_close(sample.predicted, 2 * sample.x)
    assert sample.weight is not None
    torch.testing.assert_close(sample.weight, sample.x[:, 0])
    # The sample is uniform, up to random variation.
    counts = torch.histc(sample.x, bins=10, min=1, max=1000)
    assert counts.min() >= 8
    assert counts.max() <= 34


class LoaderWithoutLength:
    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


def test_only_batches_that_the_trainer_takes_are_read() -> None:
    rows = LoaderWithoutLength([Batch(torch.ones(10, 1), torch.ones(10, 1))] * 5)
    sample = draw(rows, 100, batches=2)
    assert sample is not None
    assert (sample.rows_read, sample.all_read) == (20, True)


def test_only_the_first_rows_of_a_very_long_loader_are_read() -> None:
    rows = LoaderWithoutLength([Batch(torch.ones(2**17, 1), torch.ones(2**17, 1))] * 50)
    sample = draw(rows, 10)
    assert sample is not None
    assert sample.describe("training") == "10 of the first 262144 training rows, drawn at random"


def test_large_rows_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = LoaderWithoutLength([Batch(torch.ones(10, 4, 5), torch.ones(10, 1))] * 50)
    monkeypatch.setattr(row_sampler, "_MAX_NUMBERS", 20 * 15)
    monkeypatch.setattr(row_sampler, "_MAX_NUMBERS_READ", 20 * 35)
    sample = sample_rows(rows, math.inf, Trainer(barebones=True), DoublesX(), 100)
    assert sample is not None
    assert sample.x.shape == (15, 4, 5)
    assert sample.describe("training") == "15 of the first 40 training rows, drawn at random"


# DescentMonitor


def test_the_gradient_norm_and_the_learning_rate_are_logged(trainer: MakeTrainer) -> None:
    data = SyntheticData()
    model = LinearRegression(intercept=False, in_features=3)
    before = model.linear.weight.detach().clone()
    trainer(max_epochs=1, logger=RunLogger(), callbacks=[DescentMonitor()]).fit(model, data)
    x, y, _ = data.splits["train"]
    gradient = 2 * (before @ x.T - y.T) @ x / len(x)
    accumulator = EventAccumulator("logs/version_0")
    accumulator.Reload()
    (norm,) = accumulator.Scalars("descent/gradient_norm")
    (rate,) = accumulator.Scalars("descent/learning_rate")
    assert norm.value == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert (norm.step, rate.value) == (0, pytest.approx(0.1))


# RunProgressBar


CPU = ["--figures", "false", "--trainer.accelerator", "cpu"]
BAR = ["--trainer.enable_progress_bar", "true"]  # also without a terminal


def run_with_clock(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit with a fake clock that advances by `seconds` at each reading."""
    clock = SimpleNamespace(monotonic=itertools.count(1.0, seconds).__next__)
    monkeypatch.setattr(run_progress_bar, "time", clock)
    cli.main(["fit", *CPU, *BAR, "--data.batch_size", "50"])


def test_one_progress_bar_spans_the_run_and_time_decides_when_it_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with_clock(1, monkeypatch)
    assert capsys.readouterr().err.count("\r") >= 100
    run_with_clock(0, monkeypatch)
    out, err = capsys.readouterr()
    bar = err[err.index("\r") :]
    assert "Epoch 100/100" in bar
    assert "200/200" in bar
    assert bar.count("\r") < 20
    last = bar.rpartition("\r")[2].splitlines()[0]
    for name in ("train_loss=0.", "val_loss=0."):
        assert name in last
    assert "v_num" not in out
    lines = out.strip().splitlines()
    assert lines[1].split() == ["term", "true", "estimate"]
    assert lines[-3:] == [
        "run           logs/version_1",
        "coefficients  logs/version_1/coefficients.json",
        "curves        tensorboard --logdir logs",
    ]


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("--trainer.max_epochs 3", "Epoch 3/3: 100%"),
        ("--trainer.max_epochs -1 --trainer.max_steps 7", "Epoch 7: 100%"),
        ("--model LeastSquares --data.batch_size 10", "Pass: 100%"),
    ],
)
def test_the_progress_bar_ends_once_at_100_percent(
    words: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["fit", *CPU, *BAR, *words.split()])
    bar = capsys.readouterr().err
    assert bar.rpartition("\r")[2].startswith(end)
    assert bar.count(end) == 1


def test_another_progress_bar_replaces_ours(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["fit", *CPU, "--trainer.max_epochs=2", "--trainer.callbacks+=TQDMProgressBar"])
    assert "Epoch 1: 100%" in capsys.readouterr().out
