import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linreg_lightning import Batch, InputError
from linreg_lightning.data import BatchLoader


def numbered(rows: int) -> Batch:
    number = torch.arange(rows, dtype=torch.float64).unsqueeze(1)
    return Batch(number, 2 * number, number.squeeze(1) + 1)


def numbers(batches: list[Batch]) -> list[int]:
    for batch in batches:
        assert torch.equal(batch.y, 2 * batch.x)
        assert torch.equal(batch.weight, batch.x.squeeze(1) + 1)
    return [int(number) for batch in batches for number in batch.x]


def test_all_rows_at_once_by_default_and_without_a_copy() -> None:
    rows = numbered(5)
    (batch,) = BatchLoader(rows, shuffle_seed=3)
    assert batch.x.data_ptr() == rows.x.data_ptr()
    assert torch.equal(batch.x, rows.x)


def test_the_last_batch_is_short() -> None:
    assert [batch.rows for batch in BatchLoader(numbered(10), 4)] == [4, 4, 2]
    assert [batch.rows for batch in BatchLoader(numbered(8), 4)] == [4, 4]
    assert [batch.rows for batch in BatchLoader(numbered(3), 4)] == [3]


@given(
    rows=st.integers(1, 60),
    batch_size=st.none() | st.integers(1, 20),
    shuffle_seed=st.none() | st.integers(0, 9),
    world_size=st.integers(1, 4),
    passes=st.integers(1, 3),
)
def test_processes_share_the_rows_in_equal_steps(
    rows: int, batch_size: int | None, shuffle_seed: int | None, world_size: int, passes: int
) -> None:
    if rows < world_size:
        with pytest.raises(InputError, match=f"{rows} cannot be shared by {world_size} processes"):
            BatchLoader(numbered(rows), batch_size, shuffle_seed, 0, world_size)
        return
    seen: list[int] = []
    lengths = set()
    for rank in range(world_size):
        loader = BatchLoader(numbered(rows), batch_size, shuffle_seed, rank, world_size)
        for _ in range(passes):
            batches = list(loader)
        assert all(batch.rows > 0 for batch in batches)
        if batch_size:
            assert all(batch.rows <= batch_size + (world_size > 1) for batch in batches)
        lengths |= {len(batches), len(loader)}
        seen += numbers(batches)
    assert len(lengths) == 1
    assert sorted(seen) == list(range(rows))


def test_the_order_is_the_seeds_and_the_passs() -> None:
    def orders(seed: int | None) -> list[list[int]]:
        loader = BatchLoader(numbered(50), 7, seed)
        return [numbers(list(loader)) for _ in range(2)]

    assert orders(1) == orders(1)
    assert len({tuple(order) for order in orders(1) + orders(4)}) == 4
    assert orders(None) == [list(range(50))] * 2


def test_an_interrupted_pass_goes_on_where_it_stopped() -> None:
    whole = BatchLoader(numbered(20), 3, shuffle_seed=1)
    passes = [list(whole) for _ in range(3)]

    stopped = BatchLoader(numbered(20), 3, shuffle_seed=1)
    list(stopped)
    batches = iter(stopped)
    begun = [next(batches) for _ in range(4)]

    resumed = BatchLoader(numbered(20), 3, shuffle_seed=1)
    iterator = iter(resumed)  # Lightning asks for it before or after it brings the state
    resumed.load_state_dict(stopped.state_dict())
    assert numbers(begun + list(iterator)) == numbers(passes[1])
    assert numbers(list(resumed)) == numbers(passes[2])


def test_what_ended_a_pass_begins_the_next() -> None:
    for limit, taken in ((1.0, 7), (2, 2), (0.5, 3)):
        whole = BatchLoader(numbered(20), 3, shuffle_seed=1, limit=limit)
        passes = [list(whole) for _ in range(2)]
        loader = BatchLoader(numbered(20), 3, shuffle_seed=1, limit=limit)
        batches = iter(loader)
        for _ in range(taken):
            next(batches)
        resumed = BatchLoader(numbered(20), 3, shuffle_seed=1, limit=limit)
        resumed.load_state_dict(loader.state_dict())
        assert numbers(list(resumed)) == numbers(passes[1])


def test_other_rows_are_never_begun_in_the_middle() -> None:
    loader = BatchLoader(numbered(20), 3, shuffle_seed=1)
    next(iter(loader))
    other = BatchLoader(numbered(21), 3, shuffle_seed=1)
    other.load_state_dict(loader.state_dict())
    assert sorted(numbers(list(other))) == list(range(21))


def test_an_abandoned_pass_does_not_shorten_the_next() -> None:
    loader = BatchLoader(numbered(20), 3)
    next(iter(loader))
    assert numbers(list(loader)) == list(range(20))
