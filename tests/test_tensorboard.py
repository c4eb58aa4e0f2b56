"""Finished runs as the real TensorBoard server shows them over HTTP."""

import json
import re
import struct
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard import program

from linreg_lightning import cli
from linreg_lightning.logger import RunLogger

Ask = Callable[..., Any]
QUIET = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
RUNS = {
    "sgd": "--trainer.max_epochs 5 --data.batch_size 20 --model.lr 0.05",
    "by_hand": "--model ManualLinearRegression --trainer.max_epochs 3",
    "exact": "--model LeastSquares",
    "outside": "--model third_party.plain.CubicModel --data third_party.plain.CubicData "
    "--trainer.max_epochs 2",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run of each kind."""
    root = tmp_path_factory.mktemp("runs")
    for name, options in RUNS.items():
        folder = root / name
        cli.main(["fit", *options.split(), *QUIET.split(), f"--trainer.default_root_dir={folder}"])
    return root


@pytest.fixture(scope="module")
def ask(runs: Path) -> Ask:
    """Return a function that sends a request to the server: a path and its query or content."""
    server = program.TensorBoard()
    server.configure(
        argv=["", *f"--logdir {runs} --host 127.0.0.1 --port 0 --load_fast false".split()]
    )
    url = server.launch()
    assert url.startswith("http://")

    def get(path: str, post: dict[str, Any] | None = None, raw: bool = False, **query: Any) -> Any:
        place = f"{url}data/plugin/{path}?{urllib.parse.urlencode(query)}"
        body = None if post is None else json.dumps(post).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(place, body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return content if raw else json.loads(content)

    return get


def run(name: str) -> str:
    return f"{name}/version_0"


def points(ask: Ask, name: str, tag: str) -> dict[int, float]:
    answer = ask("scalars/scalars", run=run(name), tag=tag)
    return {step: value for _, step, value in answer}


def answer(runs: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((runs / run(name) / "coefficients.json").read_text())
    return content


def test_scalars_are_grouped_by_prefix(ask: Ask) -> None:
    tags = set(ask("scalars/tags")[run("sgd")])
    names = ("intercept", "x1", "x2")
    assert tags == {
        "train/loss",
        *(f"val/{name}" for name in ("loss", "rmse", "mae", "r2")),
        *(f"fit/{name}" for name in ("loss", "rmse", "mae", "r2")),
        *(f"descent/{name}" for name in ("epoch", "learning_rate", "gradient_norm")),
        *(f"{kind}/{name}" for kind in ("coefficient", "truth") for name in names),
    }


def test_scalars_have_the_values_of_the_run(ask: Ask, runs: Path) -> None:
    result = answer(runs, "sgd")
    for row in result["coefficients"]:
        estimates = points(ask, "sgd", f"coefficient/{row['name']}")
        assert list(estimates) == [0, 5, 10, 15, 20, 25]
        assert estimates[25] == pytest.approx(row["estimate"], rel=1e-6)
        assert points(ask, "sgd", f"truth/{row['name']}") == {0: row["true"], 25: row["true"]}
    for name in ("loss", "rmse", "mae", "r2"):
        last = points(ask, "sgd", f"fit/{name}")
        assert list(last) == [25]
        assert last[25] == pytest.approx(result["fit"][name], rel=1e-6)
    rates = points(ask, "sgd", "descent/learning_rate")
    assert list(rates.values()) == pytest.approx([0.05] * len(rates))


def test_the_gradient_norm_is_logged_for_manual_and_for_sgd_models(ask: Ask) -> None:
    for name in ("sgd", "by_hand", "outside"):
        norms = list(points(ask, name, "descent/gradient_norm").values())
        assert len(norms) == {"sgd": 5, "by_hand": 3, "outside": 2}[name]
        assert norms[0] > norms[-1] > 0
    assert "descent/gradient_norm" not in ask("scalars/tags")[run("exact")]


def test_the_layout_groups_related_curves(ask: Ask) -> None:
    layout = {
        category["title"]: {chart["title"]: chart for chart in category["chart"]}
        for category in ask("custom_scalars/layout")["category"]
    }
    assert list(layout["fit"]) == [
        "training loss",
        *(f"validation {name}" for name in ("loss", "rmse", "mae", "r2")),
    ]
    assert list(layout["coefficients"]) == ["intercept", "x1", "x2"]
    (pattern,) = layout["coefficients"]["x1"]["multiline"]["tag"]
    interval = {"interval_low/x1", "interval_high/x1"}
    for name, expected in (("sgd", set()), ("by_hand", set()), ("exact", interval)):
        matched = ask("custom_scalars/scalars", run=run(name), tag=pattern)
        assert matched["regex_valid"]
        assert set(matched["tag_to_events"]) == {"coefficient/x1", "truth/x1"} | expected


def test_no_chart_mixes_the_curves_of_training_and_validation(ask: Ask) -> None:
    # TensorBoard draws all curves of one run in a chart in the run's colour.
    tags = {tag for names in ask("scalars/tags").values() for tag in names}
    for category in ask("custom_scalars/layout")["category"]:
        for chart in category["chart"]:
            patterns = chart["multiline"]["tag"]
            shown = {tag for tag in tags for pattern in patterns if re.search(pattern, tag)}
            assert shown
            assert len({tag.partition("/")[0] in ("val", "test") for tag in shown}) == 1


def test_all_models_of_a_folder_share_one_set_of_coefficient_charts(ask: Ask) -> None:
    (charts,) = (
        category["chart"]
        for category in ask("custom_scalars/layout")["category"]
        if category["title"] == "coefficients"
    )
    titles = [chart["title"] for chart in charts]
    assert sorted(titles) == ["intercept", "x1", "x2"]


def test_the_interval_is_that_of_the_table(ask: Ask, runs: Path) -> None:
    for row in answer(runs, "exact")["coefficients"]:
        low = points(ask, "exact", f"interval_low/{row['name']}")
        high = points(ask, "exact", f"interval_high/{row['name']}")
        assert list(low) == [0, 1]  # a single point shows no line
        (last,) = list(low)[-1:]
        assert low[last] == pytest.approx(row["ci_low"], rel=1e-6)
        assert high[last] == pytest.approx(row["ci_high"], rel=1e-6)


def test_images_equal_the_png_files_of_the_run(ask: Ask, runs: Path) -> None:
    tags = ask("images/tags")
    all_plots = {"predicted", "residuals", "coefficients", "descent"}
    expected = {
        "sgd": all_plots,
        "by_hand": all_plots,
        "exact": all_plots - {"descent"},
        "outside": {"predicted", "residuals"},
    }
    for name, pictures in expected.items():
        assert set(tags[run(name)]) == pictures
        assert {path.stem for path in (runs / run(name)).glob("*.png")} == pictures
        for tag in pictures:
            (picture,) = ask("images/images", run=run(name), tag=tag, sample=0)
            content = ask(f"images/individualImage?{picture['query']}&", raw=True)
            assert content == (runs / run(name) / f"{tag}.png").read_bytes()
            assert struct.unpack(">II", content[16:24])[0] == 700


def test_the_hparams_tab_compares_runs_by_their_final_metrics(ask: Ask, runs: Path) -> None:
    experiment = ask("hparams/experiment", post={"experimentName": ""})
    shown = {info["name"] for info in experiment["hparamInfos"]}
    assert {"model", "data", "lr", "batch_size", "noise", "rows", "seed"} <= shown
    assert not [name for name in shown if name.startswith("_")]
    # TensorBoard sorts by name those said to differ, and then all others.
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert columns[:3] == ["lr", "model", "path"]
    assert columns[3:] == sorted(columns[3:])
    types = {info["name"]: info["type"] for info in experiment["hparamInfos"]}
    assert types["lr"] == "DATA_TYPE_FLOAT64"  # so that the column sorts by number
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    stages = {"train": ["loss"], "val": ["loss", "rmse", "mae", "r2"]}
    stages["fit"] = stages["val"]
    assert metrics == {f"{stage}/{name}" for stage in stages for name in stages[stage]}
    groups = ask(
        "hparams/session_groups",
        post={
            "experimentName": "",
            "allowedStatuses": ["STATUS_SUCCESS", "STATUS_UNKNOWN"],
            "colParams": [{"metric": {"tag": tag}} for tag in sorted(metrics)],
            "startIndex": 0,
            "sliceSize": 100,
        },
    )["sessionGroups"]
    models = {group["hparams"]["model"]: group for group in groups}
    assert set(models) == {
        "LinearRegression",
        "ManualLinearRegression",
        "LeastSquares",
        "CubicModel",
    }
    for group in groups:
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert all(isinstance(value, float) for value in values.values())  # JSON's NaN is text
        assert -1 not in values.values()
    values = {
        value["name"]["tag"]: value["value"] for value in models["LeastSquares"]["metricValues"]
    }
    assert values["fit/r2"] == pytest.approx(answer(runs, "exact")["fit"]["r2"])


def test_runs_that_start_together_get_different_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(TensorBoardLogger, "version", 4)
    loggers = [RunLogger(str(tmp_path)) for _ in range(3)]
    assert [logger.version for logger in loggers] == [4, 5, 6]


def test_text_shows_the_results_and_how_to_repeat_the_run(ask: Ask) -> None:
    tags = ask("text/tags")[run("sgd")]
    text = {
        tag.partition("/")[0]: ask("text/text", run=run("sgd"), tag=tag)[0]["text"] for tag in tags
    }
    assert set(text) == {"repeat", "result"}
    assert f"linreg fit {RUNS['sgd']} {QUIET}" in text["repeat"]
    assert "<li>torch 2." in text["repeat"]
    assert "config.yaml" in text["repeat"]
    assert text["result"].count("<thead>") == 2
    for word in ("intercept", "estimate", "r2"):
        assert word in text["result"]
