"""The same rows with other columns of x: columns left out, and new ones that hold zeros."""

from collections.abc import Sequence

import torch

from linreg_lightning.algebra.gram import Gram

_MATRICES = {"digits", "sums", "low"}  # the last two dimensions are columns, of [1, x, y]
_VECTORS = {"top", "shift", "exponent", "peak"}  # the only dimension is columns


def with_columns(
    gram: Gram, places: Sequence[int | None], targets: Sequence[int] | None = None
) -> Gram:
    """Return the statistics of the same rows with other columns of x, without any rounding.

    Args:
        gram: the statistics; its tensors stay as they are.
        places: for each new column, its place in x so far; None for a column of zeros.
        targets: the columns of y to keep, by their places; None keeps all.

    >>> from linreg_lightning.algebra import Float64Gram
    >>> from linreg_lightning.batch import Batch
    >>> gram = Float64Gram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])))
    >>> with_columns(gram, [None, 0]).normal_equations(intercept=False).cross
    tensor([[ 0.,  0.,  0.],
            [ 0.,  5., 10.],
            [ 0., 10., 20.]], dtype=torch.float64)
    """
    state = gram.state_dict()
    targets = range(gram.targets) if targets is None else targets
    result = type(gram)(len(places), len(targets), gram.device).state_dict()
    kept = [(new, old) for new, old in enumerate(places) if old is not None]
    columns = [
        (0, 0),
        *((1 + new, 1 + old) for new, old in kept),
        *((1 + len(places) + k, 1 + gram.features + old) for k, old in enumerate(targets)),
    ]
    for name, values in state.items():
        if name in _MATRICES:
            new, old = torch.tensor(columns, device=values.device).T
            shape = *values.shape[:-2], *result[name].shape[-2:]
            result[name] = values.new_zeros(shape)
            result[name][..., new[:, None], new] = values[..., old[:, None], old]
        elif name in _VECTORS or name == "precision":
            pairs = columns if name in _VECTORS else kept
            new, old = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
            result[name] = result[name].clone()
            result[name][new] = values[old]
        elif name != "shape":
            result[name] = values
    return type(gram).from_state_dict(result)
