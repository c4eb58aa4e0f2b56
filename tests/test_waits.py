"""How often a Gram matrix would make a GPU wait: the CPU counts each value that Python reads."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.algebra.gram_exact import _rows_at_a_time
from linreg_lightning.batch import Batch

READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}


class Waits(TorchDispatchMode):
    """Follows all tensors computed from the given ones, and counts how often Python reads them.

    Patches count `cpu` and `tolist`, because torch does not dispatch them for a CPU tensor.
    """

    def __init__(self, tensors: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.count = 0
        # Keys are storages, which views share. The tensors are held so that no key is used again.
        self.followed: dict[int, Tensor] = {}
        self.follow(tensors)
        tolist = Tensor.tolist

        def cpu(tensor: Tensor) -> Tensor:
            if not self.follows(tensor):
                return tensor
            self.count += 1
            return torch.from_numpy(tensor.numpy().copy())

        def listed(tensor: Tensor) -> Any:
            self.count += self.follows(tensor)
            return tolist(tensor)

        monkeypatch.setattr(Tensor, "cpu", cpu)
        monkeypatch.setattr(Tensor, "tolist", listed)

    def follow(self, value: Any) -> None:
        for tensor in value if isinstance(value, list | tuple) else [value]:
            if isinstance(tensor, Tensor):
                self.followed[tensor.untyped_storage()._cdata] = tensor

    def follows(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            return any(map(self.follows, value))
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self.followed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.follows(args) or self.follows(tuple((kwargs or {}).values())):
            self.count += func._schema.name in READS
            self.follow(result)
        return result


def waits(gram: Gram, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> int:
    tensors = [tensor for tensor in batch if tensor is not None]
    tensors.append(gram._sums[0])
    with monkeypatch.context() as patch, Waits(tensors, patch) as mode:
        gram.update(batch)
    return mode.count


@pytest.mark.parametrize("weighted", [False, True])
def test_float64_waits_once_per_batch_and_once_more_for_weights(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(50_000, 5)
    batch = Batch(x, x[:, :1] + 1, torch.rand(50_000) if weighted else None)
    gram = Float64Gram(5)
    gram.update(batch)
    assert waits(gram, batch, monkeypatch) == 1 + weighted


@pytest.mark.parametrize("weighted", [False, True])
def test_exact_waits_at_most_twice_per_block(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Numbers of few bits, so that no row needs more slices than the others.
    x = torch.randint(-999, 999, (100_000, 5)).double()
    batch = Batch(x, x[:, :1] + 1, torch.ones(100_000) * 3 if weighted else None)
    gram = ExactGram(5)
    gram.update(batch)
    blocks = -(-100_000 // _rows_at_a_time(7, gram._depth, batch))
    assert blocks > 2
    assert waits(gram, batch, monkeypatch) <= 2 * blocks + weighted
