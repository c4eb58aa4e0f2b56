"""Two processes give what one gives, by the Trainer and on the command line.

They take ten seconds to start, so one start serves all tests of this file.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import estimates
from test_table_command import FIT, predictions
from test_tables import mixed, write
from third_party import processes
from third_party.tasks import check_two_processes

Command = Callable[..., dict[str, Any]]

MANUAL = "--model ManualLinearRegression --data.rows 5 --data.noise 2 --trainer.max_epochs 50"
WEIGHTED = (
    "--data TabularData --data.path weighted.csv --data.target y --data.weight w "
    "--model.standardize true --data.val_fraction 0.3 --trainer.max_epochs 50"
)
TABLE = f"{FIT} t.csv --data.missing drop --data.val_fraction 0.2 --model.accuracy exact"
PREDICT = (
    "predict --ckpt_path last --data.path new.csv --keep id --trainer.default_root_dir one "
    "--data.unseen zero"
)
STREAM = "--data.stream true --figures false --trainer.default_root_dir"
LINES = [
    f"{TABLE} --data.batch_size 16 {STREAM} two",
    PREDICT,
    f"fit {MANUAL} --trainer.default_root_dir manual2",
    f"fit {WEIGHTED} --figures false --trainer.default_root_dir weighted2",
    "fit --model LeastSquares --data TabularData --data.target y --data.path bad.csv "
    f"--trainer.strategy ddp {STREAM} bad2",
]
TWO = "--trainer.devices 2 --trainer.accelerator cpu --trainer.enable_progress_bar false"


class Two(NamedTuple):
    """What two processes give, and what one process has given before."""

    folder: Path
    answers: dict[str, Any]  # of tests/third_party/processes.py
    errors: str  # of the command lines
    status: int  # of the last one, which fails
    table: dict[str, Any]  # the coefficients that one process finds
    predictions: str  # of one process


@pytest.fixture(scope="module")
def two(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_tables()
        table = command(f"{TABLE} --trainer.default_root_dir one")
        command(PREDICT)
        alone = predictions().read_text()
        lines = [f"{line} {TWO}" for line in LINES]
        done = subprocess.run([sys.executable, processes.__file__, *lines], check=False)
        errors = Path("command_errors.txt").read_text()
        assert Path("answers.json").exists(), errors + Path("fit_errors.txt").read_text()
        answers = json.loads(Path("answers.json").read_text())
    return Two(folder, answers, errors, done.returncode, table, alone)


def write_tables() -> None:
    frame = mixed(200)
    frame["rooms"] = frame["rooms"].astype(float)
    frame.loc[[5, 150], "rooms"] = np.nan
    write(frame, "t.csv")
    frame.loc[[10, 120, 190], "city"] = "Xanten"
    write(frame.assign(id=range(200)), "new.csv")
    rows = [f"{i},{i / 20 if i % 2 else 5 - i / 20},{0.1 if i % 2 else 10}" for i in range(101)]
    Path("weighted.csv").write_text("\n".join(["a,y,w", *rows]))
    rows = [f"{k % 7},{2 * (k % 7) + k % 3}" for k in range(100)]
    Path("bad.csv").write_text("\n".join(["a,y", *rows[:90], ",1", *rows[91:]]))


def test_sgd_takes_the_steps_of_a_loop_by_hand_over_batches_of_the_rows_of_both(two: Two) -> None:
    found = copy.deepcopy(two.answers["descents"])
    grouped, alone = found["groups"], found["the Trainer"]
    calls = grouped.pop("calls"), alone.pop("calls")
    assert grouped == alone
    x, y, weight = (tensor.double().numpy() for tensor in processes.descent_rows())
    x, weight = np.column_stack([x, np.ones(len(x))]), (weight / weight.mean())[:, None]
    coefficients = np.concatenate([np.array(part).T.reshape(-1, 1) for part in grouped["first"]])
    size, steps = 2 * processes.BATCH_SIZE, 0
    starts = range(0, len(x) - 1, size)  # the last row, which has no partner, joins a full batch
    for _ in range(processes.EPOCHS):
        for start in starts:
            rows = slice(start, start + size if start + size + 1 < len(x) else None)
            z, w = x[rows], weight[rows]
            gradient = 2 * z.T @ (w * (z @ coefficients - y[rows])) / len(z)
            coefficients = coefficients - processes.LR * gradient
            steps += 1
    last = np.concatenate([np.array(part).T.reshape(-1, 1) for part in grouped["last"]])
    np.testing.assert_allclose(last, coefficients, rtol=1e-4)
    assert grouped["steps"] == steps
    # One collective a step for the number of rows, one a group, and Lightning's at a group of one.
    assert calls[0] < 1.5 * steps + 30
    assert calls[1] < 2 * steps + 30
    assert found["broadcasts"] == [True, False]


def test_least_squares_give_the_same_bits_and_refuse_rows_that_come_twice(two: Two) -> None:
    found = {name: two.answers[name] for name in [*processes.CASES, *processes.LOADERS]}
    one = json.loads(json.dumps(processes.fits(1)))
    all_rows, without_folds = two.answers["refusals"]
    assert all_rows.startswith("devices: the DataLoader has given all processes the same")
    assert without_folds.startswith("devices: 2 processes were started, and the loader does not")
    assert found["auto, in two passes"]["passes"] == 2
    case = "auto, in one pass"
    assert [found.pop(case)["passes"], one[case]["passes"]] == [1, 1]
    del one[case]
    assert found == one


def test_a_penalty_is_chosen_with_the_same_bits(two: Two) -> None:
    found = two.answers["selections"]
    assert [answer["passes"] for answer in found.values()] == [1, 2]
    assert found == json.loads(json.dumps(processes.selections(1)))


def test_robust_errors_and_absorbed_effects_have_the_same_bits(two: Two) -> None:
    found = two.answers["robust"]
    assert [answer["passes"] for answer in found.values()] == [2, 2, 4]
    assert found == json.loads(json.dumps(processes.robust_fits(1)))


def test_classes_are_fitted_as_by_a_plain_torch_loop(two: Two) -> None:
    check_two_processes(two.answers["tasks"])


def test_the_command_fits_and_predicts_the_same_as_one_process(
    two: Two, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two.folder)
    assert two.predictions.splitlines()[151] == "150,"
    for noise in ("Warning", ".py:", "Traceback"):
        assert noise not in two.errors
    assert two.errors.count("2 of 200 rows were given no prediction") == 1
    assert two.errors.count("3 of 200 rows to predict have a level") == 1
    assert "2 of 160 rows" in two.errors
    found = json.loads(Path("two/version_0/coefficients.json").read_text())
    assert found["coefficients"] == two.table["coefficients"]
    assert found["rows"] == two.table["rows"]
    assert predictions().read_text() == two.predictions
    assert predictions().parent.name != "version_1"
    for name, words in (("manual", MANUAL), ("weighted", WEIGHTED)):
        alone = command(f"fit {words} --trainer.default_root_dir {name}1")
        by_two = json.loads(Path(f"{name}2/version_0/coefficients.json").read_text())
        assert estimates(by_two) == pytest.approx(estimates(alone), rel=1e-4, abs=1e-5)
        assert by_two["fit"] == pytest.approx(alone["fit"], rel=1e-4)
        assert by_two["rows"] == alone["rows"]
    assert {"predicted", "descent"} <= {path.stem for path in Path("manual2").glob("*/*.png")}


def test_an_error_of_the_second_process_is_one_line_that_names_it(two: Two) -> None:
    # The row that lacks a value is one of the second process.
    assert two.status == 1
    start = "linreg: error: process 2: "
    (message,) = [line for line in two.errors.splitlines() if line.startswith(start)]
    assert "'a'" in message
    assert "91" in message
