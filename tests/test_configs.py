"""Each configuration runs by its name and gives the right coefficients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import CONFIGS, estimates, least_squares

from linreg_lightning import SyntheticData, cli, gradient_descent_nn

Linreg = Callable[..., dict[str, Any]]


def tutorial_solution() -> torch.Tensor:
    data = SyntheticData()
    data.setup("fit")
    return least_squares(*data.splits["train"][:2]).flatten()


def estimates_tensor(answer: dict[str, Any]) -> torch.Tensor:
    return torch.tensor(list(estimates(answer).values()), dtype=torch.float64)


def test_every_configuration_has_a_test() -> None:
    names = {path.stem for path in CONFIGS.iterdir()}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert names <= tested


def test_each_configuration_is_short_and_has_comments() -> None:
    for path in CONFIGS.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) <= 20
        assert text.startswith("#")
        assert isinstance(yaml.safe_load(text), dict)


def test_a_file_in_the_working_folder_takes_precedence_over_a_configuration(
    command: Linreg,
) -> None:
    for file in ("tutorial.yaml", "tutorial"):
        path = Path(file)
        path.write_text("trainer:\n  max_epochs: 2\ndata:\n  init_args:\n    rows: 50\n")
        assert command("fit -c tutorial")["rows"] == 50
        path.unlink()
    Path("tutorial").mkdir()
    assert command("fit -c tutorial -c debug")["rows"] == 100


def test_tutorial(command: Linreg) -> None:
    answer = command("fit -c tutorial")
    torch.testing.assert_close(estimates_tensor(answer), tutorial_solution(), rtol=0, atol=1e-5)
    assert answer == command("fit")


def test_manual(command: Linreg) -> None:
    answer = command("fit -c manual")
    assert answer["model"] == "ManualLinearRegression"
    torch.testing.assert_close(estimates_tensor(answer), tutorial_solution(), rtol=0, atol=1e-5)


def test_tabular(command: Linreg, houses: Path) -> None:
    answer = command(f"fit -c tabular --data.path {houses} --data.target price")
    assert answer["rows"] == 160
    expected = {"intercept": 50000, "sqft": 150, "beds": 10000, "age": -500}
    for name, value in expected.items():
        assert abs(estimates(answer)[name] / value - 1) < 0.02
    assert answer["fit"]["r2"] > 0.99


def test_the_manual_configuration_fits_a_table(command: Linreg, houses: Path) -> None:
    frame = pd.read_csv(houses)
    ((frame - frame.mean()) / frame.std()).to_csv("scaled.csv", index=False)
    answer = command(
        "fit -c manual --data TabularData --data.path scaled.csv",
        "--data.target price --trainer.max_epochs 200",
    )
    scaled = pd.read_csv("scaled.csv")
    x = torch.tensor(scaled[["sqft", "beds", "age"]].to_numpy())
    x = torch.cat([torch.ones(len(x), 1).double(), x], dim=1)
    exact = least_squares(x, torch.tensor(scaled[["price"]].to_numpy())).flatten()
    torch.testing.assert_close(estimates_tensor(answer), exact, rtol=0, atol=1e-5)


def test_debug(command: Linreg) -> None:
    answer = command("fit -c tutorial -c debug")
    assert answer == command("fit --trainer.max_epochs 2")
    model = torch.nn.Linear(3, 1, bias=False)
    torch.manual_seed(0)
    model.reset_parameters()
    data = SyntheticData()
    data.setup("fit")
    x, y, _ = data.splits["train"]
    by_hand, _ = gradient_descent_nn(x, y, model.weight.detach().T, epochs=2)
    assert torch.equal(estimates_tensor(answer).float(), by_hand.flatten())


def test_gpu(command: Linreg, capsys: pytest.CaptureFixture[str]) -> None:
    # The fixture would add `--trainer.accelerator cpu` after the configurations.
    overlay = ["fit", "--config=tutorial", "-c", "gpu"]
    if torch.cuda.is_available():
        cli.main(overlay)
    else:
        with pytest.raises(SystemExit):
            cli.main(overlay)
        assert "accelerator: gpu was given, and torch finds none" in capsys.readouterr().err
    answer = command(" ".join(overlay))
    torch.testing.assert_close(estimates_tensor(answer), tutorial_solution(), rtol=0, atol=1e-5)


def test_least_squares(command: Linreg, houses: Path) -> None:
    answer = command(f"fit -c least_squares --data.path {houses} --data.target price")
    frame = pd.read_csv(houses)
    x = torch.tensor(frame[["sqft", "beds", "age"]].to_numpy())
    x = torch.cat([torch.ones(len(x), 1).double(), x], dim=1)
    exact = least_squares(x, torch.tensor(frame[["price"]].to_numpy())).flatten()
    torch.testing.assert_close(estimates_tensor(answer), exact, rtol=1e-10, atol=0)
    assert {"std_error", "t", "p", "ci_low", "ci_high"} <= set(answer["coefficients"][0])
    assert {"residual_sd", "r2", "f", "f_p", "rank", "condition"} <= set(answer["fit"])
