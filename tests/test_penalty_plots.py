"""The plots, the file and the curves of a model that has chosen a penalty."""

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.linear_model import ElasticNet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import RunLogger, select_penalty
from linreg_lightning.algebra import Selection, selection_json
from linreg_lightning.callbacks import CustomScalars, FitMonitor, FitPlots, PenaltyPath
from linreg_lightning.callbacks.selection_figures import selection_figures
from linreg_lightning.plots import cross_validation, penalty_path, png

ALPHAS = np.geomspace(10.0, 0.01, 31)
NAMES = ["sqft", "age", "rooms", "noise"]


def soft_threshold(largest: Any, alphas: np.ndarray = ALPHAS) -> np.ndarray:
    """Return the lasso of columns that are not correlated, (alphas, columns)."""
    largest = np.asarray(largest, dtype=np.float64)
    return np.sign(largest) * np.maximum(np.abs(largest) - alphas[:, None], 0.0)


def path(largest: Any = (8.0, -3.0, 1.0, 0.0), **options: Any) -> Figure:
    coefficients = soft_threshold(largest)
    names = [*NAMES, *(f"x{j}" for j in range(5, coefficients.shape[1] + 1))]
    given: dict[str, Any] = {
        "names": names[: coefficients.shape[1]],
        "counts": (coefficients != 0).sum(axis=1),
        "choices": {"least error": 20, "one standard error": 10},
    }
    return penalty_path(ALPHAS, coefficients, target="price", **given | options)


def curve(scale: float = 1.0, **options: Any) -> Figure:
    x = np.log10(ALPHAS)
    mean = scale * np.stack([2 + x**2, 2.5 + (x - 0.5) ** 2])
    folds = mean[:, :, None] + scale * np.array([-0.6, 0.0, 0.6])
    given: dict[str, Any] = {
        "alphas": np.stack([ALPHAS, ALPHAS]),
        "mean_error": mean,
        "standard_error": np.full_like(mean, 0.3 * scale),
        "fold_errors": folds,
        "choices": {"least error": (0, 10), "one standard error": (0, 5)},
        "counts": np.arange(31),
        "l1_ratios": [1.0, 0.5],
    }
    return cross_validation(target="price", **given | options)


def labelled(axes: Axes) -> dict[str, Any]:
    return {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}


def drawn(figure: Figure) -> Axes:
    """Lay a figure out, and check that its texts overlap nothing and lie within it."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    panel, legend = axes.get_window_extent(), figure.legends[0].get_window_extent()
    (top,) = axes.child_axes
    named = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the name
    labels = [axes.xaxis.label, axes.yaxis.label, top.xaxis.label]
    boxes = [*named, *(label.get_window_extent() for label in labels), legend]
    boxes += [text.get_window_extent() for text in top.get_xticklabels()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other.padded(-0.5))
    for box in boxes:
        assert not box.padded(-0.5).overlaps(panel)
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1
    ticks = [text.get_window_extent() for text in axes.get_xticklabels()]
    for one, other in itertools.pairwise(ticks):
        assert not one.padded(1).overlaps(other)
    return axes


# The path


def test_lines_run_from_the_largest_alpha_to_the_smallest_and_end_at_their_names() -> None:
    axes = drawn(path())
    left, right = axes.get_xlim()
    assert left > 1 > -2 > right
    assert [text.get_text() for text in axes.texts] == ["sqft", "rooms", "age"]
    lines = {line.get_ydata()[-1]: line for line in axes.lines if len(line.get_xdata()) == 31}
    assert set(lines) == {8 - 0.01, 1 - 0.01, -3 + 0.01}
    for line in lines.values():
        np.testing.assert_allclose(line.get_xdata(), np.log10(ALPHAS))
    np.testing.assert_allclose(lines[8 - 0.01].get_ydata(), np.maximum(8 - ALPHAS, 0))
    colours = {line.get_color() for line in lines.values()}
    assert len(colours) == 3
    for text in axes.texts:
        assert text.arrow_patch.get_edgecolor()
        assert text.xy[0] == pytest.approx(-2)
    assert axes.get_ylabel() == "price per standard deviation"


def test_both_choices_are_marked_and_named() -> None:
    axes = drawn(path())
    upright = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    np.testing.assert_allclose(sorted(upright), [math.log10(ALPHAS[20]), 0.0], atol=1e-12)
    assert [*labelled(axes)] == ["least error, alpha 0.1", "one standard error, alpha 1"]
    assert not labelled(path(choices={}).axes[0])


def test_the_axis_above_counts_coefficients_that_are_not_0() -> None:
    axes = drawn(path())
    (top,) = axes.child_axes
    counts = (soft_threshold((8.0, -3.0, 1.0, 0.0)) != 0).sum(axis=1)
    shown = {
        round(tick, 9): text.get_text()
        for tick, text in zip(top.get_xticks(), top.get_xticklabels(), strict=True)
    }
    assert shown == {round(math.log10(ALPHAS[k]), 9): str(counts[k]) for k in range(0, 31, 6)}


def test_names_are_those_of_the_largest_coefficients_at_the_choice() -> None:
    coefficients = np.zeros((31, 40))
    coefficients[20:, :12] = np.arange(1, 13)  # the only ones at the choice
    coefficients[25:, 12:] = np.arange(13.0, 41.0)
    names = [f"x{j}" for j in range(40)]
    axes = drawn(
        penalty_path(
            ALPHAS, coefficients, names, "y", counts=np.zeros(31), choices={"least error": 20}
        )
    )
    assert {text.get_text() for text in axes.texts} == {f"x{j}" for j in range(12)}
    figure = penalty_path(ALPHAS, coefficients, names, "y", counts=np.zeros(31))
    assert {text.get_text() for text in figure.axes[0].texts} == {f"x{j}" for j in range(28, 40)}


def test_lines_that_look_like_zero_have_no_name() -> None:
    names = [text.get_text() for text in path(largest=[100.0, 2.02, 1.9, -9.0]).axes[0].texts]
    assert names == ["sqft", "age", "noise"]


def test_names_of_lines_that_end_at_one_place_do_not_overlap() -> None:
    axes = drawn(path(largest=[5.0] * 8 + [-1.0] * 30))
    assert len(axes.texts) == 12


def test_steep_lines_to_names_end_at_their_names() -> None:
    axes = drawn(path(largest=[200.0, *[20.0] * 11, -9.0]))
    for text in axes.texts:
        start = text.arrow_patch.get_transform().transform_path(text.arrow_patch.get_path())
        name = Text.get_window_extent(text)
        assert name.y0 < start.vertices[0, 1] < name.y1, text.get_text()


def test_of_5000_columns_the_longest_lines_are_drawn() -> None:
    largest = np.geomspace(50, 0.05, 5000) * np.where(np.arange(5000) % 2, 1, -1)
    axes = drawn(path(largest=largest))
    (others,) = (each for each in axes.collections if isinstance(each, LineCollection))
    assert len(others.get_segments()) == 500
    ends = sorted(abs(segment[-1, 1]) for segment in others.get_segments())
    np.testing.assert_allclose(ends[0], abs(largest[511]) - 0.01)
    assert axes.figure.get_supxlabel() == "Lines of the 512 largest of 5000 coefficients."


def test_columns_that_stay_0_have_no_line() -> None:
    axes = path(largest=[0.0] * 100).axes[0]
    assert not axes.texts
    assert axes.figure.get_supxlabel() == ""


@pytest.mark.parametrize("unit", [1e-300, 1e12])
def test_coefficients_and_alphas_of_any_magnitude_have_readable_axes(unit: float) -> None:
    coefficients = unit * soft_threshold((8.0, -3.0))
    choices = {"least error": 20}
    figure = penalty_path(
        unit * ALPHAS, coefficients, ["a", "b"], "y", counts=np.zeros(31), choices=choices
    )
    axes = drawn(figure)
    assert "×10" in axes.get_ylabel()
    assert max(map(abs, axes.get_ylim())) < 1000
    assert all(len(text.get_text()) < 8 for text in axes.get_xticklabels())
    mean = np.stack([unit * (1 + np.log10(ALPHAS) ** 2)])
    drawn(
        cross_validation(
            unit * ALPHAS[None],
            mean,
            mean / 9,
            mean[:, :, None],
            "y",
            choices={"least error": (0, 20)},
            counts=np.zeros(31),
        )
    )


def test_one_alpha_has_marks_and_names() -> None:
    figure = penalty_path(
        np.array([0.1]),
        np.array([[2.0, -1.0]]),
        ["a", "b"],
        "y",
        counts=np.array([2]),
        choices={"least error": 0},
    )
    axes = drawn(figure)
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert "0.1" in [text.get_text() for text in axes.get_xticklabels()]
    one = np.array([[3.0]])
    axes = drawn(
        cross_validation(
            np.array([[0.1]]),
            one,
            one / 3,
            np.array([[[2.0, 4.0]]]),
            "y",
            choices={"least error": (0, 0)},
            counts=np.array([2]),
        )
    )
    low, high = axes.get_ylim()
    assert low < 2 < 4 < high


def test_alphas_of_0_lie_one_step_beyond_the_smallest() -> None:
    alphas = np.array([1.0, 0.1, 0.0])
    figure = penalty_path(
        alphas, np.array([[0.0], [1.0], [2.0]]), ["a"], "y", counts=np.array([0, 1, 1])
    )
    axes = drawn(figure)
    assert (
        dict(
            zip(
                axes.get_xticks(), (text.get_text() for text in axes.get_xticklabels()), strict=True
            )
        )[-2.0]
        == "0"
    )
    zeros = np.zeros((1, 5))
    for figure in (
        penalty_path(
            zeros[0], np.zeros((5, 2)), ["a", "b"], "y", counts=zeros[0], choices={"least error": 0}
        ),
        cross_validation(
            zeros,
            zeros,
            zeros,
            zeros[..., None],
            "y",
            choices={"least error": (0, 0)},
            counts=zeros[0],
        ),
    ):
        assert [text.get_text() for text in drawn(figure).get_xticklabels()] == ["0"]


# The errors of held-out folds


def test_the_curve_has_its_band_its_folds_and_its_choices() -> None:
    axes = drawn(curve(l1_ratios=[1.0], **{name: value[:1] for name, value in arrays().items()}))
    shown = labelled(axes)
    mean = 2 + np.log10(ALPHAS) ** 2
    np.testing.assert_allclose(shown["mean of the folds"].get_ydata(), mean)
    band = shown["± standard error"].get_paths()[0].vertices
    for x, value in zip(np.log10(ALPHAS), mean, strict=True):
        ends = band[np.isclose(band[:, 0], x), 1]
        assert ends.min() == pytest.approx(value - 0.3)
        assert ends.max() == pytest.approx(value + 0.3)
    folds = [line for line in axes.lines if line.get_label() == "folds"]
    np.testing.assert_allclose(
        [line.get_ydata() - mean for line in folds],
        np.array([[-0.6], [0.0], [0.6]]) + 0 * mean,
        atol=1e-12,
    )
    for name, k in ("least error, alpha 1", 10), ("one standard error, alpha 3.16", 5):
        mark = shown[name]
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (
            pytest.approx(math.log10(ALPHAS[k])),
            pytest.approx(mean[k]),
        )
    assert axes.get_ylabel() == "squared error of price"


def arrays() -> dict[str, np.ndarray]:
    mean = np.stack([2 + np.log10(ALPHAS) ** 2] * 2)
    return {
        "alphas": np.stack([ALPHAS] * 2),
        "mean_error": mean,
        "standard_error": np.full_like(mean, 0.3),
        "fold_errors": mean[:, :, None] + np.array([-0.6, 0.0, 0.6]),
    }


def test_each_l1_ratio_has_a_curve() -> None:
    axes = drawn(curve())
    shown = labelled(axes)
    assert [*shown][2:4] == ["l1_ratio 1", "l1_ratio 0.5"]
    np.testing.assert_allclose(
        shown["l1_ratio 0.5"].get_ydata(), 2.5 + (np.log10(ALPHAS) - 0.5) ** 2
    )
    assert shown["l1_ratio 1"].get_linewidth() > shown["l1_ratio 0.5"].get_linewidth()
    many = {name: np.concatenate([value] * 5) for name, value in arrays().items()}
    axes = drawn(curve(l1_ratios=np.linspace(0.1, 1, 10).tolist(), **many))
    assert axes.figure.get_supxlabel() == "The best 7 of 10 l1_ratios."
    assert sum(label.startswith("l1_ratio") for label in labelled(axes)) == 7


def test_the_axis_of_errors_is_logarithmic_where_means_differ_tenfold() -> None:
    far = arrays()
    far["mean_error"] = 10.0 ** np.stack([np.log10(ALPHAS)] * 2)
    axes = drawn(curve(**far))
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert 0 < low < 0.01
    assert high > 10
    assert curve().axes[0].get_yscale() == "linear"


def test_errors_that_are_not_finite_are_left_out() -> None:
    broken = arrays()
    broken["mean_error"][:, :3] = math.nan
    broken["fold_errors"][:, 5, 0] = math.inf
    low, high = curve(**broken).axes[0].get_ylim()
    assert 0 < low < high < 10


# The text, the file and the curves of a model


class ChosenModel(LightningModule):
    """A model whose fit takes a selection that was made before.

    Like one from a checkpoint, it has coefficients before its fit, but not yet a selection.
    """

    fitted = True
    one_pass = True

    def __init__(self, chosen: Selection) -> None:
        super().__init__()
        self.chosen, self.selection = chosen, None
        self.feature_names, self.target_names = chosen.column_names()

    @property
    def fit_statistics(self) -> dict[str, Any]:
        return self.chosen.statistics

    def coefficients(self) -> list[dict[str, Any]]:
        columns = self.chosen.table(self.feature_names, self.target_names)
        rows = zip(columns["target"], columns["term"], columns["estimate"], strict=True)
        return [{"target": y, "name": name, "estimate": value} for y, name, value in rows]

    def forward(self, x: Tensor) -> Tensor:
        return self.chosen.predict(x).reshape(len(x), -1)

    def training_step(self, batch: Any, index: int) -> None:
        self.selection = self.chosen

    def configure_optimizers(self) -> None:
        return None


def rows(count: int = 60, features: int = 3, targets: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, features, dtype=torch.float64)
    y = x[:, :1] * torch.tensor([3.0, -2.0][:targets]) - x[:, 1:2]
    return x, y + 0.3 * torch.randn(count, targets, dtype=torch.float64)


def fit(selection: Selection, x: Tensor, y: Tensor, *callbacks: Callback) -> Path:
    """Run a fit of a model that takes this selection; return the folder of the run."""
    logger = RunLogger("logs")
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, callbacks=list(callbacks),
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = DataLoader(TensorDataset(x, y), batch_size=len(x))
    trainer.fit(ChosenModel(selection), data)
    return Path(logger.log_dir)


def test_the_file_holds_the_path_its_errors_and_the_choices() -> None:
    x, y = rows(targets=2)
    ratios = {"penalty": "elasticnet", "l1_ratio": [0.4, 0.9], "alphas": 5, "folds": 4}
    selection = select_penalty(x, y, **ratios).with_names(["a", "b", "c"], ["price", "rent"])
    callback = PenaltyPath()
    folder = fit(selection, x, y, callback)
    assert callback.path == folder / "path.json"
    content = json.loads(callback.path.read_text())
    assert content["model"] == "ChosenModel"
    assert (content["penalty"], content["standardize"], content["rows"]) == ("elasticnet", True, 60)
    assert sum(content["folds"]) == 60
    assert len(content["folds"]) == 4
    assert [target["target"] for target in content["targets"]] == ["price", "rent"]
    for t, target in enumerate(content["targets"]):
        assert [path["l1_ratio"] for path in target["paths"]] == [0.4, 0.9]
        for r, path in enumerate(target["paths"]):
            deviation = x.std(0, correction=0).numpy()
            for a, alpha in enumerate(path["alphas"]):
                peer = ElasticNet(alpha=alpha, l1_ratio=path["l1_ratio"], tol=1e-12)
                peer.fit((x.numpy() / deviation), y[:, t].numpy())
                found = [path["coefficients"][name][a] for name in "abc"]
                np.testing.assert_allclose(found, peer.coef_ / deviation, atol=1e-8)
                np.testing.assert_allclose(path["intercept"][a], peer.intercept_, atol=1e-8)
                assert path["nonzero"][a] == np.count_nonzero(peer.coef_)
            errors = np.array(path["fold_errors"])
            assert errors.shape == (4, 5)
            weights = np.array(content["folds"]) / 60
            np.testing.assert_allclose(path["mean_error"], weights @ errors)
            assert all(len(path[name]) == 5 for name in ("aic", "bic", "cp", "gcv"))
            assert path["mean_error"] == selection.mean_error[r, :, t].tolist()  # the same float64
        best = min((min(path["mean_error"]), path["l1_ratio"]) for path in target["paths"])
        assert (target["min"]["mean_error"], target["min"]["l1_ratio"]) == best
        assert target["chosen"] == target["min"]
        path = target["paths"][[0.4, 0.9].index(best[1])]
        within = [e <= best[0] + target["min"]["standard_error"] for e in path["mean_error"]]
        assert target["one_standard_error"]["number"] == within.index(True)
        assert target["chosen"]["alpha"] == path["alphas"][target["chosen"]["number"]]
        place = target["chosen"]["number"]
        named = {name: values[place] for name, values in path["coefficients"].items()}
        assert target["chosen"]["coefficients"] == named


def test_a_wide_path_has_coefficients_of_the_choices_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = rows()
    selection = select_penalty(x, y, alphas=5, folds=3)
    monkeypatch.setattr(selection_json, "_MAX_NUMBERS", 14)
    content = selection.to_json()
    assert "coefficients" not in content["targets"][0]["paths"][0]
    assert "more than" in content["note"]
    assert len(content["targets"][0]["chosen"]["coefficients"]) == 3
    monkeypatch.setattr(selection_json, "_MAX_NUMBERS", 15)
    assert "note" not in selection.to_json()


def test_numbers_that_are_not_known_are_null_and_the_file_is_whole_or_absent() -> None:
    x, _ = rows(12)
    selection = select_penalty(x, torch.full((12,), 7.0), alphas=3, folds=3)
    folder = fit(selection, x, x[:, :1], PenaltyPath())
    text = (folder / "path.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["targets"][0]["paths"][0]["cp"] == [None] * 3
    assert [path.name for path in folder.glob("path.json*")] == ["path.json"]


def test_curves_and_their_band_are_in_tensorboard() -> None:
    x, y = rows()
    selection = select_penalty(x, y, alphas=6, folds=4, choice="one_standard_error")
    folder = fit(selection, x, y, PenaltyPath(), CustomScalars(), FitMonitor())
    events = EventAccumulator(str(folder)).Reload()
    scalars = {
        tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]
    }
    mean, spread = selection.mean_error[0, :, 0], selection.standard_error[0, :, 0]
    curves = {"mean_error": mean, "low": mean - spread, "high": mean + spread}
    for name, values in (curves | {"alpha": selection.alphas[0, :, 0]}).items():
        assert [*scalars[f"path/{name}"]] == [0, 1, 2, 3, 4, 5]
        np.testing.assert_allclose([*scalars[f"path/{name}"].values()], values, rtol=1e-6)
    assert scalars["fit/cv_error"][1] == pytest.approx(selection.statistics["cv_error"])
    assert "fit/cv_standard_error" not in scalars
    content = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    charts = {
        chart.title: [[series.value, series.lower, series.upper] for series in chart.margin.series]
        for category in Layout.FromString(content).category
        for chart in category.chart
    }
    assert charts["error of held-out folds"] == [["path/mean_error", "path/low", "path/high"]]


def test_pictures_are_among_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = png(Figure(figsize=(1, 1), dpi=10))
    monkeypatch.setattr("linreg_lightning.plots.png", lambda figure: blank)
    x, y = rows(targets=2)
    folder = fit(select_penalty(x, y, alphas=4, folds=3), x, y, FitPlots())
    names = {path.stem for path in folder.glob("*.png")}
    expected = {f"{name}-{k}" for name in ("penalty_path", "cross_validation") for k in (1, 2)}
    assert names >= expected
    events = EventAccumulator(str(folder)).Reload()
    assert {"penalty_path/y1", "cross_validation/y2"} <= {*events.Tags()["images"]}


def test_lines_are_in_the_units_in_which_the_penalty_acts() -> None:
    x, y = rows()
    x, y = x * torch.tensor([2.0, 1.0, 0.5]), y + x[:, 2:]
    for standardize, label in (
        (True, "y per standard deviation"),
        (False, "y per unit of the column"),
    ):
        selection = select_penalty(x, y, alphas=4, folds=3, standardize=standardize)
        (_, figure), _ = selection_figures(selection, 0, "y")
        axes = figure.axes[0]
        assert axes.get_ylabel().startswith(label)
        scale = x.std(0, correction=0) if standardize else torch.ones(3)
        ends = {text.get_text(): text.xy[1] for text in axes.texts}
        expected = selection.path.coefficients[0, -1, :, 0] * scale
        np.testing.assert_allclose([ends.get(f"x{j}", 0.0) for j in (1, 2, 3)], expected)


def test_columns_without_a_penalty_have_no_line() -> None:
    x, y = rows()
    selection = select_penalty(x, y, alphas=4, folds=3, unpenalized=[0])
    (_, figure), _ = selection_figures(selection, 0, "y")
    assert "x1" not in {text.get_text() for text in figure.axes[0].texts}
    assert figure.get_supxlabel().endswith("Columns without a penalty are not shown.")


def test_the_summary_says_what_was_chosen_and_how_well_it_predicts() -> None:
    x, y = rows(features=30)
    selection = select_penalty(x, y, alphas=20, folds=5, choice="one_standard_error")
    text = selection.summary()
    numbers, shown = selection.statistics, [line.split()[0] for line in text.splitlines()]
    columns = [f"x{j + 1}" for j in range(30) if selection.coefficients[j, 0] != 0]
    assert [name for name in shown if re.fullmatch(r"x\d+", name)] == columns
    assert f"{len(columns)} of 30 coefficients are not 0; only these are shown" in text
    assert f"lasso  alpha {numbers['alpha']:.6g}, the largest within one standard error" in text
    for name in "held-out error cv_error", "standard error cv_standard_error", "held-out r2 cv_r2":
        words, _, key = name.rpartition(" ")
        assert f"{words} {numbers[key]:.6g}" in text
    few = select_penalty(x[:, :3], y, alphas=20, folds=5, choice="one_standard_error")
    assert "x3" in few.summary()  # 0, and one of few


def test_the_summary_has_a_paragraph_for_each_target() -> None:
    x, y = rows(targets=2)
    selection = select_penalty(x, y, penalty="elasticnet", l1_ratio=0.3, alphas=5, folds=3)
    lines = selection.summary().splitlines()
    for t, target in enumerate(("y1", "y2")):
        alpha = selection.statistics["alpha"][t]
        start = f"{target}: elastic net, l1_ratio 0.3  alpha {alpha:.6g}, with the least error"
        assert sum(line.startswith(start) for line in lines) == 1


def test_the_command_lists_the_file_and_says_what_was_chosen(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command("fit --model RegularizedLeastSquares --model.alphas 10 --trainer.default_root_dir runs")
    printed = capsys.readouterr().out
    assert re.search(r"^path +runs/version_0/path.json$", printed, re.MULTILINE)
    content = json.loads(Path("runs/version_0/path.json").read_text())
    chosen = content["targets"][0]["chosen"]
    assert f"lasso  alpha {chosen['alpha']:.6g}, with the least error of held-out folds" in printed
    assert f"held-out error {chosen['mean_error']:.6g}" in printed
    written = json.loads(Path("runs/version_0/coefficients.json").read_text())
    named = {row["name"]: row["estimate"] for row in written["coefficients"]}
    assert named == {"intercept": chosen["intercept"], **chosen["coefficients"]}
