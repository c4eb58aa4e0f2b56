"""The tutorial: autograd, gradient descent by hand, and the same with `torch.nn`.

Torch alone, no Lightning. `python -m linreg_lightning.tutorial` walks through the three steps;
`models/manual.py` and `models/linear.py` put the same two loops under the Trainer.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

from linreg_lightning.errors import InputError


def column_sums(x: Tensor, a: Tensor) -> Tensor:
    """Autograd's first example: the gradient of o = sum(X a) with respect to a.

    Since o is the sum over i, j of X_ij a_j, its gradient is the column sums of X, whatever a is.

    Args:
        x: X, (rows, features).
        a: where the gradient is taken, (features,).

    Returns:
        The gradient, (features,).

    >>> column_sums(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]))
    tensor([4., 6.])
    """
    a = a.detach().clone().requires_grad_()
    y = x @ a
    o = y.sum()
    o.backward()
    assert a.grad is not None
    return a.grad


def make_rows(
    weights: Tensor, rows: int = 100, noise: float = 0.5, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw rows of a known linear model: y = X w + noise * N(0, 1), the first column of X all ones.

    Args:
        weights: the truth w, (features,) or (features, targets); its first row is the intercept.
        rows: how many rows.
        noise: the standard deviation of the noise, in units of y.
        generator: where the numbers come from; None means torch's own.

    Returns:
        X, (rows, features), its other columns N(0, 1), and y, (rows,) or (rows, targets).

    >>> x, y = make_rows(torch.tensor([1.0, 2.0, 3.0]), rows=4)
    >>> x.shape, y.shape
    (torch.Size([4, 3]), torch.Size([4]))
    """
    random = torch.randn(rows, weights.shape[0] - 1, generator=generator, dtype=weights.dtype)
    x = torch.cat([torch.ones(rows, 1, dtype=weights.dtype), random], dim=1)
    y = x @ weights
    return x, y + noise * torch.randn(y.shape, generator=generator, dtype=weights.dtype)


def step(
    x: Tensor,
    y: Tensor,
    w: Tensor,
    rate: float = 0.1,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """One step of gradient descent on the mean squared error, as the tutorial writes it.

    w <- w - rate * d/dw mean((y - X w)^2)

    Args:
        x: X, (rows, features).
        y: (rows,) or (rows, targets).
        w: a leaf that requires its gradient, (features,) or (features, targets); changed in place.
        rate: the learning rate.
        backward: what fills `w.grad`; a Trainer passes its own, which knows of other processes.

    Returns:
        The loss before the step, a scalar.
    """
    w.grad = None
    loss = torch.mean((y - x @ w) ** 2)
    backward(loss)
    assert w.grad is not None  # backward has just filled it, which a type checker cannot know
    w.data = w.data - rate * w.grad.data
    return loss.detach()


def gradient_descent(
    x: Tensor, y: Tensor, w: Tensor | None = None, rate: float = 0.1, epochs: int = 100
) -> tuple[Tensor, list[float]]:
    """Fit y = X w by gradient descent by hand: `epochs` full-batch steps.

    Args:
        x: X with its column of ones, (rows, features).
        y: (rows,) or (rows, targets).
        w: where to start, (features,) or (features, targets) as y has it; None draws N(0, 1).
        rate: the learning rate.
        epochs: how many steps.

    Returns:
        The weights, shaped like the start, and the loss before each step.

    Raises:
        InputError: shapes that do not belong together.

    >>> x, y = make_rows(torch.tensor([1.0, 2.0, 3.0]), noise=0.0)
    >>> w, losses = gradient_descent(x, y)
    >>> w.round(decimals=3), len(losses)
    (tensor([1., 2., 3.]), 100)
    """
    w = _start(x, y, w).requires_grad_()
    losses = []
    for _ in range(epochs):
        losses.append(step(x, y, w, rate).item())
    return w.detach(), losses


def gradient_descent_nn(
    x: Tensor, y: Tensor, w: Tensor | None = None, rate: float = 0.1, epochs: int = 100
) -> tuple[Tensor, list[float]]:
    """Fit y = X w as `gradient_descent` does, with `nn.Linear`, `nn.MSELoss` and `optim.SGD`.

    Arguments, results and errors are those of `gradient_descent`; the two agree to rounding.

    >>> x, y = make_rows(torch.tensor([1.0, 2.0, 3.0]), noise=0.0)
    >>> w, losses = gradient_descent_nn(x, y)
    >>> w.round(decimals=3), len(losses)
    (tensor([1., 2., 3.]), 100)
    """
    w = _start(x, y, w)
    target = y.reshape(len(y), -1)
    model = nn.Linear(x.shape[1], target.shape[1], bias=False, device=x.device, dtype=x.dtype)
    model.weight.data.copy_(w.reshape(x.shape[1], -1).T)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.weight.detach().T.reshape(w.shape), losses


def _start(x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise InputError(
            f"x and y: shapes {tuple(x.shape)} and {tuple(y.shape)} were given; "
            "(rows, features) and (rows,) or (rows, targets) are needed"
        )
    shape = (x.shape[1], *y.shape[1:])
    if w is None:
        return torch.randn(shape, dtype=x.dtype, device=x.device)
    if w.shape != shape:
        raise InputError(f"w: a shape of {tuple(w.shape)} was given; these rows need {shape}")
    return w.detach().clone()


def main() -> None:
    """Walk through the tutorial on the terminal."""
    torch.manual_seed(0)

    print("1. Autograd: y = X a, o = sum(y), o.backward()")
    x, a = torch.randn(5, 3), torch.randn(3)
    print(f"   a.grad             {_line(column_sums(x, a))}")
    print(f"   column sums of X   {_line(x.sum(dim=0))}")

    print("\n2. Gradient descent by hand: y = 1 + 2 x1 + 3 x2 + 0.5 N(0, 1), 100 rows, rate 0.1")
    x, y = make_rows(torch.tensor([1.0, 2.0, 3.0]), generator=torch.Generator().manual_seed(0))
    start = torch.randn(3)
    w, losses = gradient_descent(x, y, start)
    print(f"   start              {_line(start)}")
    for epoch in (1, 2, 5, 10, 20, 50, 100):
        print(f"   epoch {epoch:3d}   loss {losses[epoch - 1]:8.4f}")
    print(f"   weights            {_line(w)}")

    print("\n3. The same with nn.Linear, nn.MSELoss and optim.SGD, from the same start")
    w_nn, losses_nn = gradient_descent_nn(x, y, start)
    exact = torch.linalg.lstsq(x.double(), y.double().unsqueeze(1)).solution.squeeze(1)
    print(f"   epoch 100   loss {losses_nn[-1]:8.4f}")
    print(f"   weights            {_line(w_nn)}")
    print(f"   least squares      {_line(exact)}")


def _leave_the_compiler_out() -> None:
    """Keep torch from importing its compiler at an optimiser's first step.

    That import takes longer than all the rest of the walk. Nothing is compiled here, so the calls
    it serves, marks and decorators, may as well hand back what they are given.
    """
    compiler = types.ModuleType("torch._dynamo")
    compiler.__dict__["__getattr__"] = lambda name: lambda *args, **_: args[0] if args else None
    torch._dynamo = sys.modules[compiler.__name__] = compiler


def _line(values: Tensor) -> str:
    return "  ".join(f"{value:8.5f}" for value in values.tolist())


if __name__ == "__main__":
    _leave_the_compiler_out()
    main()
