import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from conftest import least_squares
from nbclient import NotebookClient

import linreg_lightning
from linreg_lightning import InputError
from linreg_lightning.tutorial import column_sums, gradient_descent, gradient_descent_nn, make_rows

TRUTH = torch.tensor([1.0, 2.0, 3.0])


def rows(targets: int | None = None, n: int = 100, dtype: torch.dtype = torch.float32):
    truth = TRUTH if targets is None else torch.stack([TRUTH + k for k in range(targets)], dim=1)
    return make_rows(truth.to(dtype), n, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_a_sum_is_the_column_sums(dtype: torch.dtype) -> None:
    x, a = torch.randn(7, 3, dtype=dtype), torch.randn(3, dtype=dtype)
    gradient = column_sums(x, a)
    assert gradient.shape == (3,)
    torch.testing.assert_close(gradient, x.sum(dim=0))
    assert a.grad is None
    assert not a.requires_grad


def test_make_rows_follows_the_stated_model() -> None:
    x, y = rows(n=50_000)
    assert x.shape == (50_000, 3)
    assert y.shape == (50_000,)
    assert (x[:, 0] == 1).all()
    noise = y - x @ TRUTH
    assert noise.mean().abs() < 0.01
    assert abs(noise.std().item() - 0.5) < 0.01
    assert (x[:, 1:].std(dim=0) - 1).abs().max() < 0.02


def test_gradient_descent_takes_the_tutorials_steps_bit_for_bit() -> None:
    x, y = rows()
    w = torch.tensor([0.3, -0.2, 0.1], requires_grad=True)
    start = w.detach().clone()
    losses = []
    for _ in range(100):
        w.grad = None
        loss = torch.mean((y - x @ w) ** 2)
        loss.backward()
        w.data = w.data - 0.1 * w.grad.data
        losses.append(loss.item())
    ours, our_losses = gradient_descent(x, y, start)
    assert torch.equal(ours, w.detach())
    assert our_losses == losses
    assert torch.equal(start, torch.tensor([0.3, -0.2, 0.1]))


def test_gradient_descent_nn_takes_the_tutorials_steps_bit_for_bit() -> None:
    x, y = rows(targets=1)
    start = torch.tensor([[0.3], [-0.2], [0.1]])
    model = torch.nn.Linear(3, 1, bias=False)
    model.weight.data = start.T.clone()
    criterion, optimizer = torch.nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    ours, our_losses = gradient_descent_nn(x, y, start)
    assert torch.equal(ours, model.weight.detach().T)
    assert our_losses == losses


@pytest.mark.parametrize("descend", [gradient_descent, gradient_descent_nn])
@pytest.mark.parametrize("targets", [None, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_loops_reach_least_squares(descend, targets: int | None, dtype: torch.dtype) -> None:
    x, y = rows(targets, dtype=dtype)
    w, losses = descend(x, y, epochs=500)
    assert w.shape == (3, *y.shape[1:])
    assert w.dtype == dtype
    assert not w.requires_grad
    exact = least_squares(x, y.reshape(len(y), -1)).reshape(w.shape)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(w.double(), exact, rtol=tolerance, atol=tolerance)
    assert losses[:30] == sorted(losses[:30], reverse=True)
    assert abs(losses[-1] - torch.mean((y - x @ w) ** 2).item()) < 1e-5


def test_the_random_start_is_standard_normal_and_follows_the_seed() -> None:
    x, y = rows()
    torch.manual_seed(5)
    first, _ = gradient_descent(x, y, epochs=0)
    torch.manual_seed(5)
    assert torch.equal(first, torch.randn(3))


@pytest.mark.parametrize(
    ("x", "y", "w", "message"),
    [
        (torch.ones(4, 2), torch.ones(3), None, r"\(4, 2\) and \(3,\) were given"),
        (torch.ones(4), torch.ones(4), None, r"\(4,\) and \(4,\) were given"),
        (torch.ones(4, 2), torch.ones(4), torch.ones(2, 1), r"\(2, 1\) was given.*need \(2,\)"),
        (torch.ones(4, 2), torch.ones(4, 1), torch.ones(2), r"\(2,\) was given.*need \(2, 1\)"),
    ],
)
@pytest.mark.parametrize("descend", [gradient_descent, gradient_descent_nn])
def test_shapes_that_would_broadcast_are_refused(descend, x, y, w, message: str) -> None:
    with pytest.raises(InputError, match=message):
        descend(x, y, w)


def test_the_script_prints_the_three_steps_and_neither_it_nor_a_plain_fit_needs_lightning() -> None:
    code = (
        "import sys, runpy; runpy.run_module('linreg_lightning.tutorial', run_name='__main__');"
        "from linreg_lightning import least_squares;"
        "least_squares([[1.0], [2.0], [3.0]], [1.0, 2.0, 4.0]);"
        "assert not any(name.split('.')[0] == 'lightning' for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) < 25
    sums = [line.split()[-3:] for line in lines if "a.grad" in line or "column sums" in line]
    assert sums[0] == sums[1]
    answers = [
        [float(number) for number in line.split()[-3:]]
        for line in lines
        if line.split()[0:1] in (["weights"], ["least"])
    ]
    assert len(answers) == 3
    torch.testing.assert_close(
        torch.tensor(answers), torch.tensor([answers[2]] * 3), rtol=0, atol=2e-5
    )
    torch.testing.assert_close(torch.tensor(answers[0]), TRUTH, rtol=0, atol=0.15)


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each code cell prints, in order."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]


def stored_notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(Path(linreg_lightning.__file__).parent / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nbformat.NotebookNode]:
    """Run the notebooks in one process, which imports torch only once; return them by name."""
    result = {name: stored_notebook(name) for name in ("tutorial", "data_frames")}
    both = nbformat.v4.new_notebook()
    for notebook in result.values():
        both.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebooks"))}}
    NotebookClient(both, timeout=300, resources=resources).execute()
    return result


def test_the_notebook_runs_and_prints_its_stored_output(
    notebooks: dict[str, nbformat.NotebookNode],
) -> None:
    stored, notebook = stored_notebook("tutorial"), notebooks["tutorial"]
    text = "\n".join(printed(notebook))
    assert "by hand: True" in text
    assert "torch.nn: True" in text
    by_hand = [float(n) for n in re.findall(r"\d\.\d{4}", text.split("weights tensor")[1])[:3]]
    x, y = rows(targets=1)
    exact = least_squares(x, y).flatten().tolist()
    assert by_hand == pytest.approx(exact, abs=1e-4)
    estimates = re.findall(r"(?m)^(?:intercept|x1|x2) +(\S+)", text)
    assert len(estimates) == 9
    assert [float(n) for n in estimates] == pytest.approx(exact * 3, abs=1e-5)
    # The last cell prints rounding errors, whose digits depend on the processor.
    assert printed(stored)[:-1] == printed(notebook)[:-1]
    pictures = [o for cell in stored.cells for o in cell.get("outputs", []) if "data" in o]
    assert any("image/png" in output.data for output in pictures)


def test_the_notebook_of_a_day_with_data_frames_runs(
    notebooks: dict[str, nbformat.NotebookNode],
) -> None:
    text = "\n".join(printed(notebooks["data_frames"]))
    assert "the same bits as one fit of both months: True" in text
    assert "city: compared to Bergen" in text
    # The coefficients that the rows were made with lie within three standard errors.
    for name, true in (
        ("area", 4.5),
        ("built", 0.6),
        (r"city\[Oslo\]", 90.0),
        (r"city\[Tromsø\]", 0),
    ):
        row = re.search(rf"(?m)^{name} +(\S+) +(\S+)", text)
        assert row is not None, name
        assert abs(float(row[1]) - true) < 3 * float(row[2])
    stored = stored_notebook("data_frames")
    outputs = [o for cell in stored.cells for o in cell.get("outputs", []) if "data" in o]
    assert sum("image/png" in output.data for output in outputs) == 2
