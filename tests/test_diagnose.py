"""`linreg diagnose`: the rows of a checkpoint read once more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from linreg_lightning import TabularData, cli
from linreg_lightning.algebra import least_squares
from linreg_lightning.algebra.row_diagnostics import RowDiagnostics
from linreg_lightning.batch import Batch
from linreg_lightning.callbacks.diagnostic_figures import diagnostic_figures

Command = Callable[..., dict[str, Any]]


def write_rows(path: str, rows: int, start: int = 0) -> tuple[np.ndarray, ...]:
    """Write a table with a gap, weights of 0 and an outlier; return x, y, weight and numbers."""
    generator = np.random.default_rng(start)
    x = generator.normal(size=(rows, 2))
    y = x @ [2.0, -1.0] + generator.normal(size=rows)
    y[rows // 2] += 9
    weight = np.where(np.arange(rows) % 7 == 3, 0.0, 1.0 + np.arange(rows) % 3)
    lines = [
        f"key-{start + i},{'' if i == 4 else repr(a)},{b!r},{w!r},{v!r}"
        for i, ((a, b), w, v) in enumerate(
            zip(x.tolist(), weight.tolist(), y.tolist(), strict=True)
        )
    ]
    Path(path).write_text("id,a,b,w,y\n" + "\n".join(lines) + "\n")
    counted = (weight > 0) & (np.arange(rows) != 4)
    return x[counted], y[counted], weight[counted], start + 1 + np.flatnonzero(counted)


def influence_of(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Any:
    """Return statsmodels' measures of influence; its weighted fits have none of their own."""
    root = np.sqrt(weight)
    return sm.OLS(root * y, root[:, None] * sm.add_constant(x)).fit().get_influence()


def diagnose(*args: str) -> dict[str, Any]:
    cli.main(["diagnose", *args])
    newest = max(Path("logs").glob("*/diagnostics.json"), key=lambda file: file.stat().st_mtime_ns)
    content: dict[str, Any] = json.loads(newest.read_text())
    return content | {"folder": newest.parent}


FIT = "fit --model LeastSquares --data.target y --data.exclude id --data.weight w"
FIT += " --data.missing drop"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_rows_are_diagnosed_as_by_statsmodels(command: Command, stream: str) -> None:
    x, y, weight, numbers = write_rows("rows.csv", 60)
    accuracy = "float64" if stream == "true" else "exact"
    command(FIT, f"--data.path rows.csv --data.stream {stream} --model.accuracy {accuracy}")
    answer = diagnose("--rows", "4", "--keep", "[id]", "--columns", "b")
    influence = influence_of(x, y, weight)
    order = np.argsort(-influence.cooks_distance[0])[:4]
    (target,) = answer["targets"]
    assert [row["row"] for row in target["influential"]] == numbers[order].tolist()
    for row, place in zip(target["influential"], order.tolist(), strict=True):
        assert row["cook"] == pytest.approx(influence.cooks_distance[0][place])
        assert row["residual"] == pytest.approx(influence.resid_studentized_external[place])
        assert answer["keys"][str(row["row"])] == {"id": f"key-{row['row'] - 1}"}
    pictures = {file.name for file in answer["folder"].glob("*.png")}
    assert pictures == {"qq.png", "scale-location.png", "leverage.png", "partial-1.png"}
    events = EventAccumulator(str(answer["folder"]))
    events.Reload()
    assert set(events.Tags()["images"]) == {"qq", "scale-location", "leverage", "partial/b"}


def test_rows_added_to_a_checkpoint_are_numbered_on(command: Command) -> None:
    first, second = write_rows("one.csv", 30), write_rows("two.csv", 30, start=31)
    with Path("one.csv").open("a") as file:
        file.write("last,,1,1,1\n")  # dropped, and counted
    command(FIT, "--data.path one.csv")
    command("fit --ckpt_path last --data.path two.csv")
    answer = diagnose("--rows", "1")
    x, y, weight, numbers = (np.concatenate(parts) for parts in zip(first, second, strict=True))
    influence = influence_of(x, y, weight)
    assert answer["rows"] == len(y)
    row = answer["targets"][0]["influential"][0]["row"]
    assert row == numbers[influence.cooks_distance[0].argmax()]


def test_rows_are_numbered_over_all_files_and_keep_their_keys() -> None:
    *_, first = write_rows("one.csv", 10)
    *_, second = write_rows("two.csv", 10, start=10)
    data = TabularData(["one.csv", "two.csv"], "y", exclude="id", weight="w", missing="drop")
    blocks = [*data.numbered_rows(["id"])]
    numbers = np.concatenate([block.numbers.numpy() for block in blocks])
    weight = np.concatenate([block.batch.weight.numpy() for block in blocks])
    assert numbers[weight > 0].tolist() == [*first, *second]
    keys = [key for block in blocks for key in block.kept.column("id").to_pylist()]
    assert keys == [f"key-{number - 1}" for number in numbers]


def test_quantiles_of_a_sample_are_those_of_rows_drawn_at_random() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 1, generator=generator, dtype=torch.float64)
    y = x + torch.randn(3000, 1, generator=generator, dtype=torch.float64)
    y[7] += 50
    fit = least_squares(x, y)
    rows = RowDiagnostics(fit, top=1, sample_rows=100)
    rows.update(Batch(x, y))
    figures = {name: figure for name, _, figure in diagnostic_figures(rows.finish())}
    heights = {
        name: np.abs(np.asarray(figures[name].axes[0].collections[0].get_offsets())[:, 1]).max()
        for name in ("qq", "leverage")
    }
    assert heights["qq"] < 5 < 30 < heights["leverage"]
    assert figures["qq"].get_supxlabel() == "100 of 3000 training rows, drawn at random."
    caption = "101 of 3000 training rows: drawn at random, and the most influential ones."
    assert figures["leverage"].get_supxlabel().replace("\n", " ").startswith(caption)


def test_what_cannot_be_diagnosed_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*args: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main(["diagnose", *args])
        message = capsys.readouterr().err.strip()
        assert "\n" not in message
        return message.removeprefix("linreg: error: ")

    write_rows("rows.csv", 60)
    command("fit --model LeastSquares")
    assert refusal("--keep", "id").startswith("keep: SyntheticData has no columns to keep")
    command(FIT, "--data.path rows.csv")
    assert refusal("--rows", "0").startswith("--rows: 0 was given")
    assert refusal("--columns", "c") == "--columns: the fit has no column 'c'; it has a, b"
    assert "has no column 'nope'" in refusal("--keep", "nope")
    write_rows("rows.csv", 61)
    assert "its data now have 5" in refusal()
    command("fit --model LeastSquares --model.ridge 2")
    assert "was fitted with ridge 2" in refusal()
