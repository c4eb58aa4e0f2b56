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
    epoch=st.integers(0, 3),
)
def test_processes_share_the_rows_in_equal_steps(
    rows: int, batch_size: int | None, shuffle_seed: int | None, world_size: int, epoch: int
) -> None:
    if rows < world_size:
        with pytest.raises(InputError, match=f"{rows} cannot be shared by {world_size} processes"):
            BatchLoader(numbered(rows), batch_size, shuffle_seed, 0, world_size)
        return
    seen: list[int] = []
    lengths = set()
    for rank in range(world_size):
        loader = BatchLoader(numbered(rows), batch_size, shuffle_seed, rank, world_size)
        loader.set_epoch(epoch)
        batches = list(loader)
        assert all(batch.rows > 0 for batch in batches)
        if batch_size:
            assert all(batch.rows <= batch_size + (world_size > 1) for batch in batches)
        lengths |= {len(batches), len(loader)}
        seen += numbers(batches)
    assert len(lengths) == 1
    assert sorted(seen) == list(range(rows))


def test_the_order_is_the_seeds_and_the_epochs() -> None:
    def order(seed: int | None, epoch: int) -> list[int]:
        loader = BatchLoader(numbered(50), 7, seed)
        loader.set_epoch(epoch)
        return numbers(list(loader))

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed, epoch in [(1, 0), (1, 1), (4, 0)]}) == 3
    assert order(None, 0) == order(None, 1) == list(range(50))


def test_an_interrupted_epoch_goes_on_where_it_stopped() -> None:
    whole = BatchLoader(numbered(20), 3, shuffle_seed=1)
    whole.set_epoch(2)
    all_batches = list(whole)

    stopped = BatchLoader(numbered(20), 3, shuffle_seed=1)
    stopped.set_epoch(2)
    batches = iter(stopped)
    begun = [next(batches) for _ in range(4)]

    resumed = BatchLoader(numbered(20), 3, shuffle_seed=1)
    resumed.load_state_dict(stopped.state_dict())
    iterator = iter(resumed)  # Lightning asks for it before it says the epoch
    resumed.set_epoch(2)
    assert numbers(begun + list(iterator)) == numbers(all_batches)
    resumed.set_epoch(3)
    assert len(list(resumed)) == len(resumed)


def test_a_finished_epoch_leaves_the_next_one_whole() -> None:
    loader = BatchLoader(numbered(20), 3, shuffle_seed=1)
    list(loader)
    resumed = BatchLoader(numbered(20), 3, shuffle_seed=1)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(1)
    assert len(list(resumed)) == 7
