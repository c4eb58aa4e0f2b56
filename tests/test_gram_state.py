"""Sums over passes, processes and checkpoints, where each fold has its own."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import folds_of_rows
from linreg_lightning.algebra.gram_state import GramState, PassShape
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

FOLDS = 3
NAMES = ["a", "b", "y"]
KINDS: list[type[Gram]] = [ExactGram, Float64Gram]
Gather = Callable[[list[GramState[FoldSums]]], None]


def sample(rows: int) -> tuple[Batch, Tensor]:
    x = torch.randn(rows, 2, dtype=torch.float64) + 100
    batch = Batch(x, x.sum(1, keepdim=True) ** 2, torch.rand(rows, dtype=torch.float64))
    return batch, folds_of_rows(0, rows, FOLDS)


def state_with(
    accuracy: str, batch: Batch, fold: Tensor, processes: int = 1, size: int = 10
) -> Any:
    state = GramState(accuracy, FOLDS)
    state.begin_pass(2, 1, torch.device("cpu"), second=False)
    add(state, batch, fold, processes, size)
    return state


def add(
    state: GramState[FoldSums], batch: Batch, fold: Tensor, processes: int = 1, size: int = 10
) -> None:
    for start in range(0, batch.rows, size):
        rows = slice(start, start + size)
        state.add(batch.select(rows), processes, NAMES, fold[rows])


def saved(value: Any) -> Any:
    torch.save(value, "state.pt")
    return torch.load("state.pt", weights_only=True)


def assert_sums(sums: FoldSums, batch: Batch, fold: Tensor, accuracy: str) -> None:
    """Compare with the exact sums of the rows of each fold; exact sums must have the same bits."""
    assert sums.accuracy == accuracy
    for k, gram in enumerate(sums.grams):
        expected = ExactGram(batch.x.shape[1])
        expected.update(batch.select(fold == k))
        got, want = gram.normal_equations(), expected.normal_equations()
        assert got.rows == want.rows
        if accuracy == "exact":
            assert torch.equal(got.cross.high, want.cross.high)
            assert torch.equal(got.mean.low, want.mean.low)
        units = (
            torch.ldexp(torch.ones(3, dtype=torch.float64), equations.exponent)
            * 2.0 ** (int(equations.weight_exponent) // 2)
            for equations in (got, want)
        )
        mine, other = (unit * unit[:, None] for unit in units)
        cross = got.cross if isinstance(got.cross, Tensor) else got.cross.high
        scale = (want.cross.high * other).diagonal().sqrt()
        error = (cross * mine - want.cross.high * other) / (scale * scale[:, None])
        assert float(error.abs().max()) < 1e-13


def shifts(sums: FoldSums) -> list[Tensor]:
    return [gram.shift[0] for gram in sums.grams if isinstance(gram, Float64Gram)]


def have_one_shift(sums: FoldSums) -> bool:
    first, *others = shifts(sums)
    return len(others) == len(sums.grams) - 1 and all(torch.equal(first, s) for s in others)


@pytest.fixture
def gather(monkeypatch: pytest.MonkeyPatch) -> Gather:
    """Return a function that lets `total` of the first of some states gather all of them."""

    def set_states(states: list[GramState[FoldSums]]) -> None:
        def all_gather_object(values: list[Any], mine: Any) -> None:
            for place, state in enumerate(states):
                assert state.current is not None
                value = mine if place == 0 else {"accuracy": state.current.accuracy}
                values[place] = pickle.loads(pickle.dumps(value | state.current.state_dict()))

        monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)

    return set_states


@pytest.mark.parametrize("kind", KINDS)
def test_sums_by_fold_have_the_interface_of_one_gram(kind: type[Gram]) -> None:
    batch, fold = sample(60)
    sums = FoldSums(kind, FOLDS, 2)
    sums.update(batch, fold)
    assert (sums.features, sums.targets, sums.row_count) == (2, 1, 60)
    assert sums.device == torch.device("cpu")
    accuracy = kind.accuracy
    assert_sums(sums, batch, fold, accuracy)
    assert_sums(FoldSums.from_state_dict(saved(sums.state_dict())), batch, fold, accuracy)
    assert_sums(sums.to("cpu"), batch, fold, accuracy)
    others = sums.without(1)
    assert others.rows == [sums.rows[0], sums.rows[2]]
    assert others.training()[0].rows == sums.rows[2]
    with pytest.raises(InputError, match="folds: 2 were given, which leave one fold without the"):
        others.without(0)
    zero = torch.zeros(60, 1, dtype=torch.float64)
    wide = batch._replace(x=torch.cat((batch.x[:, 1:], zero, batch.x[:, :1]), 1))
    got, want = sums.with_columns([1, None, 0]).total(), kind(3)
    want.update(wide)
    mean = got.normal_equations().mean.high
    torch.testing.assert_close(mean, want.normal_equations().mean.high, rtol=1e-14, atol=0)


def test_exact_sums_are_rounded_with_one_shift_and_go_on_with_it() -> None:
    batch, fold = sample(60)
    fold[:30] = 1  # so that fold 0 and 2 are empty at first
    fold[30:45] = 0
    for rows_before in (0, 30, 45, 60):
        sums = FoldSums(ExactGram, FOLDS, 2)
        before, after = slice(rows_before), slice(rows_before, None)
        sums.update(batch.select(before), fold[before])
        rounded = sums.to_float64()
        assert rounded.to_float64() is rounded
        rounded = FoldSums.from_state_dict(saved(rounded.state_dict()))
        rounded.update(batch.select(after), fold[after])
        assert_sums(rounded, batch, fold, "float64")
        assert have_one_shift(rounded)


@pytest.mark.parametrize("parts", [(40, 60), (60, 40)])
def test_merged_float64_sums_have_the_shift_of_most_rows(parts: tuple[int, int]) -> None:
    batch, fold = sample(100)
    batch.x[parts[0] :] += 1000.0
    sums = []
    for rows in (slice(parts[0]), slice(parts[0], None)):
        sums.append(FoldSums(Float64Gram, FOLDS, 2))
        sums[-1].update(batch.select(rows), fold[rows])
    first, second = sums
    larger = shifts(first if parts[0] > 50 else second)[0]
    first.merge(second)
    assert_sums(first, batch, fold, "float64")
    assert have_one_shift(first)
    assert torch.equal(shifts(first)[0], larger)


@pytest.mark.parametrize(
    ("accuracy", "limit", "expected"),
    [
        ("exact", 10**6, "exact"),
        ("float64", 10**6, "float64"),
        ("auto", 10**6, "exact"),
        ("auto", 150, "float64"),
        ("auto", 330, "float64"),  # two of three processes have rows above it
    ],
)
def test_processes_and_passes_give_the_sums_of_all_rows(
    accuracy: str, limit: int, expected: str, gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linreg_lightning.algebra.gram_state.EXACT_LIMIT", limit)
    batch, fold = sample(110)
    # The first process has but 20 rows, so that the accuracies of processes may differ.
    parts = [slice(20), slice(20, 65), slice(65, 110)]
    states = [state_with(accuracy, batch.select(p), fold[p], processes=3) for p in parts]
    gather(states)
    if limit == 330:
        assert [s.current.accuracy for s in states] == ["exact", "float64", "float64"]
    total = states[0].total(3)
    assert_sums(total, batch, fold, expected)
    assert not states[0].same_rows
    states[0].end_pass(total)
    # A later fit on one process adds its rows to the folds of the checkpoint.
    later = GramState(accuracy, FOLDS)
    later.load_state_dict(saved(states[0].state_dict(PassShape(3, 1))))
    more, more_fold = sample(20)
    later.begin_pass(2, 1, torch.device("cpu"), second=False)
    add(later, more, more_fold)
    both = Batch(*(torch.cat(pair) for pair in zip(batch, more, strict=True)))
    assert_sums(later.total(1), both, torch.cat((fold, more_fold)), expected)


@pytest.mark.parametrize("accuracy", ["exact", "float64"])
def test_a_pass_over_folds_resumes_on_two_processes(accuracy: str, gather: Gather) -> None:
    batch, fold = sample(80)
    parts, shape = [slice(20), slice(40, 60)], PassShape(4, 2)
    states = [state_with(accuracy, batch.select(p), fold[p], processes=2) for p in parts]
    gather(states)
    checkpoint = saved(states[0].state_dict(shape))
    resumed = [GramState(accuracy, FOLDS) for _ in parts]
    for place, (state, rest) in enumerate(
        zip(resumed, (slice(20, 40), slice(60, 80)), strict=True)
    ):
        state.load_state_dict(checkpoint)
        state.resume_pass(torch.device("cpu"), place == 0, shape)
        add(state, batch.select(rest), fold[rest], processes=2)
    gather(resumed)
    total = resumed[0].total(2)
    assert_sums(total, batch, fold, accuracy)
    again = resumed[0]
    again.load_state_dict(checkpoint)
    with pytest.raises(InputError, match="go on with the same rows, batch_size and devices"):
        again.resume_pass(torch.device("cpu"), True, PassShape(8, 2))
    assert again.current is not None
    rows = torch.bincount(torch.cat([fold[p] for p in parts]), minlength=FOLDS).tolist()
    again.select_columns([1, None])
    assert (again.current.rows, again.current.features) == (rows, 2)


def test_processes_with_the_same_rows_are_noticed(gather: Gather) -> None:
    batch, fold = sample(30)
    states = [state_with("exact", batch, fold, processes=2, size=size) for size in (7, 30)]
    gather(states)
    states[0].total(2)
    assert states[0].same_rows


def test_sums_of_other_folds_are_refused() -> None:
    by_fold = state_with("exact", *sample(30))
    state = by_fold.state_dict(PassShape(3, 1))
    with pytest.raises(
        InputError, match=r"folds: 5 was given, but the checkpoint has .* 3 folds; ty"
    ):
        GramState("exact", 5).load_state_dict(state)
    with pytest.raises(
        InputError, match=r"folds: None was given, but the checkpoint has .* 3 folds"
    ):
        GramState("exact").load_state_dict(state)
    plain = GramState("exact")
    plain.begin_pass(2, 1, torch.device("cpu"), second=False)
    state = plain.state_dict(PassShape(3, 1))
    assert set(state) == {"format", "done", "partial", "second", "cut"}
    assert set(state["partial"]) == {"accuracy", *ExactGram(2).state_dict()}
    with pytest.raises(InputError, match=r"folds: 3 was given, but .* no folds; fit all rows anew"):
        GramState("exact", 3).load_state_dict(state)


def test_rows_of_many_columns_cost_as_much_for_each_fold() -> None:
    state = GramState("exact", 10)
    state.begin_pass(700, 1, torch.device("cpu"), second=False)
    assert "700 columns in exact in 10 folds take about 11 s" in (state.cost_note(1e6) or "")
    plain = GramState("exact")
    plain.begin_pass(700, 1, torch.device("cpu"), second=False)
    assert plain.cost_note(1e6) is None
