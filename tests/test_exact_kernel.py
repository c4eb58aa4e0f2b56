"""Exact sums by the compiled loop have the same bits as those by matrix products."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from linreg_lightning.algebra import ExactGram, compiled_sums
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

Change = Callable[[Tensor], Tensor]

KINDS: dict[str, Change] = {
    "normal": lambda x: x,
    "offset": lambda x: x + 1e9,
    "ascending": lambda x: x * 2.0 ** (torch.arange(len(x)) / 50.0)[:, None],
    "mostly zeros": lambda x: x * (x > 1.5),
    "subnormal": lambda x: x * 2.0**-1060,
    "huge": lambda x: x * 1e300,
    "a few tiny": lambda x: torch.where(x > 2.2, x * 1e-30, x),
    "of all sizes": lambda x: x * torch.exp(20 * x.roll(1, 0)),
    "powers of two": lambda x: 2.0 ** (4 * x).round(),
}


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_sums, "MIN_NUMBERS", 0)


def sums(batches: list[Batch], compiled: bool, monkeypatch: pytest.MonkeyPatch) -> ExactGram:
    gram = ExactGram(batches[0].x.shape[1], batches[0].y.shape[1])
    with monkeypatch.context() as patch:
        if not compiled:
            patch.setattr(compiled_sums, "load_kernel", lambda: None)
        for batch in batches:
            gram.update(batch)
    assert (gram._compiled is not None) == compiled
    return gram


def assert_same(first: ExactGram, second: ExactGram) -> None:
    one, other = first.state_dict(), second.state_dict()
    length = max(len(one["digits"]), len(other["digits"]))
    for state in (one, other):  # trailing zeros change nothing
        digits = state["digits"]
        more = length - len(digits)
        state["digits"] = torch.cat((digits, digits.new_zeros(more, *digits.shape[1:])))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_sums_have_the_same_bits(
    kind: str, dtype: torch.dtype, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(len(kind))
    for rows, features, targets in ((1, 1, 1), (257, 4, 2), (700, 9, 1)):
        shape = (rows, features + targets)
        z = KINDS[kind](torch.randn(shape, dtype=torch.float64, generator=generator))
        if dtype == torch.float32:
            z = z.clamp(-1e15, 1e15)
        z, weight = z.to(dtype), None
        if weighted:
            weight = torch.randn(rows, dtype=torch.float64, generator=generator).exp()
            weight[1::7] = 0.0
        batch = Batch(z[:, :features], z[:, features:], weight)
        batches = [batch.select(slice(rows // 3)), batch.select(slice(rows // 3, rows))]
        assert_same(sums(batches, True, monkeypatch), sums(batches, False, monkeypatch))


@pytest.mark.parametrize("by_column", [False, True])
def test_threads_and_the_order_in_memory_change_nothing(
    by_column: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(3000, 7, dtype=torch.float64)
    batch = Batch(x[:, 1:].T.contiguous().T if by_column else x[:, 1:], x[:, :1])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        gram = sums([batch], True, monkeypatch)
    finally:
        torch.set_num_threads(threads)
    assert_same(gram, sums([batch], False, monkeypatch))


def test_values_that_are_not_numbers_are_refused_and_change_nothing() -> None:
    x = torch.randn(3000, 2, dtype=torch.float64)
    gram = ExactGram(2)
    gram.update(Batch(x, x[:, :1]))
    before = gram.state_dict()
    wrong = x.clone()
    wrong[2500, 1] = torch.nan
    with pytest.raises(InputError, match="row 2501 holds nan"):
        gram.update(Batch(wrong, x[:, :1]))
    assert all(torch.equal(before[name], value) for name, value in gram.state_dict().items())


def test_absent_rows_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1000, 2, dtype=torch.float64)
    weight = torch.rand(1000, dtype=torch.float64)
    weight[::5], x[::5] = 0.0, torch.nan
    batch = Batch(x, x[:, :1], weight)
    assert_same(sums([batch], True, monkeypatch), sums([batch], False, monkeypatch))


def test_small_fits_do_not_import_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_sums, "MIN_NUMBERS", 10_000)
    x = torch.randn(1000, 2, dtype=torch.float64)
    gram = ExactGram(2)
    gram.update(Batch(x, x[:, :1]))
    assert gram._compiled is None
    gram.update(Batch(x.repeat(5, 1), x.repeat(5, 1)[:, :1]))
    assert gram._compiled is not None


def test_whole_numbers_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(3000).reshape(1000, 3) % 17
    batch = Batch(x[:, 1:], x[:, :1])
    assert_same(sums([batch], True, monkeypatch), sums([batch], False, monkeypatch))


KERNEL = """
from numba import njit

@njit("float64(float64)", cache=True)
def twice(x):
    return 2.0 * x

@njit("float64(float64)", cache=True)
def four_times(x):
    return twice(twice(x))
"""


def test_a_note_says_that_numba_compiles_only_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kernel_to_compile.py").write_text(KERNEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)

    def import_kernel(_: str) -> Any:
        sys.modules.pop("kernel_to_compile", None)
        return import_module("kernel_to_compile")

    monkeypatch.setattr(compiled_sums, "import_module", import_kernel)
    for notes in (1, 0):  # the second time the kernel is on the disk
        compiled_sums.load_kernel.cache_clear()
        caplog.clear()
        assert compiled_sums.load_kernel().four_times(2.0) == 8.0
        assert [message[:9] for message in caplog.messages] == ["Compiling"] * notes
    sys.modules.pop("kernel_to_compile")
    compiled_sums.load_kernel.cache_clear()


def test_sums_need_no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "linreg_lightning.algebra.exact_kernel", None)
    monkeypatch.delattr("linreg_lightning.algebra.exact_kernel", raising=False)
    compiled_sums.load_kernel.cache_clear()
    try:
        x = torch.randn(100, 2, dtype=torch.float64)
        gram = ExactGram(2)
        gram.update(Batch(x, x[:, :1]))
        assert gram._compiled is None
    finally:
        compiled_sums.load_kernel.cache_clear()
