"""The tutorial: autograd, gradient descent by hand, and the same with `torch.nn`.

This file needs torch alone, no Lightning. `python -m linreg_lightning.tutorial` prints the three
steps; `tutorial.ipynb` shows them with pictures. `models/manual.py` and `models/linear.py` run the
same two loops under the Trainer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

from linreg_lightning.errors import InputError


def column_sums(x: Tensor, a: Tensor) -> Tensor:
    """Return the gradient of o = sum(X a) with respect to a, found by autograd.

    o is the sum of X_ij a_j over all i and j. Its gradient is therefore the vector of column sums
    of X, whatever a is.

    Args:
        x: X, (rows, features).
        a: the point at which to take the gradient, (features,).

    Returns:
        The gradient, (features,).

    >>> column_sums(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]))
    tensor([4., 6.])
    """
    a = a.detach().clone().requires_grad_()
    y = x @ a
    o = y.sum()
    o.backward()
    assert a.grad is not None  # backward() has just set it; a type checker cannot know
    return a.grad


def make_rows(
    weights: Tensor, rows: int = 100, noise: float = 0.5, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw rows of a linear model whose weights are known: y = X w + noise * N(0, 1).

    The first column of X is all ones, the others are drawn from N(0, 1).

    Args:
        weights: the true w, (features,) or (features, targets); its first row is the intercept.
        rows: the number of rows.
        noise: the standard deviation of the noise, in units of y.
        generator: draws the random numbers; None means torch's global generator.

    Returns:
        X, (rows, features), and y, (rows,) or (rows, targets).

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
    """Take one step of gradient descent on the mean squared error.

    w <- w - rate * d/dw mean((y - X w)^2)

    Args:
        x: X, (rows, features).
        y: (rows,) or (rows, targets).
        w: a leaf tensor that requires a gradient, (features,) or (features, targets); changed in
            place.
        rate: the learning rate.
        backward: computes `w.grad` from the loss. A Trainer passes its own function, which also
            averages gradients over processes.

    Returns:
        The loss before the step, a scalar.
    """
    w.grad = None
    loss = torch.mean((y - x @ w) ** 2)
    backward(loss)
    assert w.grad is not None  # backward() has just set it; a type checker cannot know
    w.data = w.data - rate * w.grad.data
    return loss.detach()


def gradient_descent(
    x: Tensor, y: Tensor, w: Tensor | None = None, rate: float = 0.1, epochs: int = 100
) -> tuple[Tensor, list[float]]:
    """Fit y = X w by gradient descent by hand: `epochs` steps, each over all rows.

    Args:
        x: X with its column of ones, (rows, features).
        y: (rows,) or (rows, targets).
        w: the start, (features,) or (features, targets) as y has it; None draws it from N(0, 1).
        rate: the learning rate.
        epochs: the number of steps.

    Returns:
        The weights, shaped like the start, and the loss before each step.

    Raises:
        InputError: the shapes of x, y and w do not fit each other.

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

    Arguments, results and errors are those of `gradient_descent`. The two agree to rounding.

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
    """Return a copy of w, or random weights, after a check of the shapes."""
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
    """Print the three steps of the tutorial."""
    torch.manual_seed(0)

    print("1. Autograd: y = X a, o = sum(y), o.backward()")
    x, a = torch.randn(5, 3), torch.randn(3)
    print(f"   a.grad             {_numbers(column_sums(x, a))}")
    print(f"   column sums of X   {_numbers(x.sum(dim=0))}")

    print("\n2. Gradient descent by hand: y = 1 + 2 x1 + 3 x2 + 0.5 N(0, 1), 100 rows, rate 0.1")
    x, y = make_rows(torch.tensor([1.0, 2.0, 3.0]), generator=torch.Generator().manual_seed(0))
    start = torch.randn(3)
    w, losses = gradient_descent(x, y, start)
    print(f"   start              {_numbers(start)}")
    for epoch in (1, 2, 5, 10, 20, 50, 100):
        print(f"   epoch {epoch:3d}   loss {losses[epoch - 1]:8.4f}")
    print(f"   weights            {_numbers(w)}")

    print("\n3. The same with nn.Linear, nn.MSELoss and optim.SGD, from the same start")
    w_nn, losses_nn = gradient_descent_nn(x, y, start)
    exact = torch.linalg.lstsq(x.double(), y.double().unsqueeze(1)).solution.squeeze(1)
    print(f"   epoch 100   loss {losses_nn[-1]:8.4f}")
    print(f"   weights            {_numbers(w_nn)}")
    print(f"   least squares      {_numbers(exact)}")


def _numbers(values: Tensor) -> str:
    return "  ".join(f"{value:8.5f}" for value in values.tolist())


if __name__ == "__main__":
    main()
