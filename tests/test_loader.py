import pytest
import torch
from hypothesis import given, strategies as st

from linreg_lightning import Batch, InputError
from linreg_lightning.data import BatchLoader, loader as loaders


def numbered(rows: int) -> Batch:
    number = torch.arange(rows, dtype=torch.float64).unsqueeze(1)
    return Batch(number, 2 * number, number.squeeze(1) + 1)


def numbers(batches: list[Batch]) -> list[int]:
    for batch in batches:
        assert torch.equal(batch.y, 2 * batch.x)
        assert torch.equal(batch.weight, batch.x.squeeze(1) + 1)
    return [int(number) for batch in batches for number in batch.x]


def test_one_batch_holds_all_rows_by_default_without_a_copy() -> None:
    rows = numbered(5)
    (batch,) = BatchLoader(rows, shuffle_seed=3)
    assert batch.x.data_ptr() == rows.x.data_ptr()
    assert torch.equal(batch.x, rows.x)


def test_the_last_batch_holds_the_remaining_rows() -> None:
    assert [batch.rows for batch in BatchLoader(numbered(10), 4)] == [4, 4, 2]
    assert [batch.rows for batch in BatchLoader(numbered(8), 4)] == [4, 4]
    assert [batch.rows for batch in BatchLoader(numbered(3), 4)] == [3]


@given(
    rows=st.integers(1, 60),
    batch_size=st.none() | st.integers(1, 20),
    shuffle_seed=st.none() | st.integers(0, 9),
    world_size=st.integers(1, 4),
    passes=st.integers(1, 3),
    blocks=st.booleans(),
)
def test_processes_read_each_row_once_in_equal_numbers_of_steps(
    rows: int,
    batch_size: int | None,
    shuffle_seed: int | None,
    world_size: int,
    passes: int,
    blocks: bool,
) -> None:
    if rows < world_size:
        with pytest.raises(InputError, match=f"{rows} cannot be shared by {world_size} processes"):
            BatchLoader(numbered(rows), batch_size, shuffle_seed, 0, world_size)
        return
    seen: list[int] = []
    lengths = set()
    for rank in range(world_size):
        loader = BatchLoader(
            numbered(rows), batch_size, shuffle_seed, rank, world_size, blocks=blocks
        )
        for _ in range(passes):
            batches = list(loader)
        assert all(batch.rows > 0 for batch in batches)
        if batch_size:
            assert all(batch.rows <= batch_size + (world_size > 1) for batch in batches)
        lengths |= {len(batches), len(loader)}
        seen += numbers(batches)
    assert len(lengths) == 1
    assert sorted(seen) == list(range(rows))


def test_the_order_depends_on_the_seed_and_the_pass() -> None:
    def orders(seed: int | None) -> list[list[int]]:
        loader = BatchLoader(numbered(50), 7, seed)
        return [numbers(list(loader)) for _ in range(2)]

    assert orders(1) == orders(1)
    assert len({tuple(order) for order in orders(1) + orders(4)}) == 4
    assert orders(None) == [list(range(50))] * 2


@pytest.mark.parametrize("blocks", [False, True])
def test_an_interrupted_pass_resumes_at_the_next_batch(blocks: bool) -> None:
    whole = BatchLoader(numbered(20), 3, shuffle_seed=1, blocks=blocks)
    passes = [list(whole) for _ in range(3)]

    stopped = BatchLoader(numbered(20), 3, shuffle_seed=1, blocks=blocks)
    list(stopped)
    batches = iter(stopped)
    begun = [next(batches) for _ in range(4)]

    resumed = BatchLoader(numbered(20), 3, shuffle_seed=1, blocks=blocks)
    iterator = iter(resumed)  # Lightning makes the iterator before or after it loads the state
    resumed.load_state_dict(stopped.state_dict())
    assert numbers(begun + list(iterator)) == numbers(passes[1])
    assert numbers(list(resumed)) == numbers(passes[2])


def test_a_state_saved_at_the_end_of_a_pass_starts_the_next_pass() -> None:
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


def test_a_state_of_other_rows_starts_a_whole_pass() -> None:
    loader = BatchLoader(numbered(20), 3, shuffle_seed=1)
    next(iter(loader))
    other = BatchLoader(numbered(21), 3, shuffle_seed=1)
    other.load_state_dict(loader.state_dict())
    assert sorted(numbers(list(other))) == list(range(21))


def test_an_abandoned_pass_does_not_shorten_the_next_pass() -> None:
    loader = BatchLoader(numbered(20), 3)
    next(iter(loader))
    assert numbers(list(loader)) == list(range(20))


def test_the_chunk_size_does_not_change_the_rows_of_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def passes() -> list[int]:
        loader = BatchLoader(numbered(1000), 7, shuffle_seed=3)
        return [number for _ in range(2) for number in numbers(list(loader))]

    at_once = passes()
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(3))
    assert at_once[:1000] == order.tolist()
    for size in (1, 7 * 24 * 3, 7 * 24 * 10 + 1):
        monkeypatch.setattr(loaders, "CHUNK_BYTES", size)
        assert passes() == at_once


def test_blocks_keep_their_rows_and_change_their_order() -> None:
    loader = BatchLoader(numbered(50), 8, shuffle_seed=2, blocks=True)
    first, second = ([numbers([batch]) for batch in loader] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    assert first[-1] == second[-1]
    assert [len(block) for block in first] == [8] * 6 + [2]
    assert sorted(number for block in first for number in block) == list(range(50))
    assert first[0] != sorted(first[0])


@pytest.mark.parametrize(("free", "moved"), [(1000, True), (999, False)])
def test_rows_move_to_the_gpu_once_if_its_memory_allows(
    free: int, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fake device is enough to test the decision. 25 rows of three float64 take 600 bytes.
    class Cuda:
        type = "cuda"

    places = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * free * 600 // 1000, 0))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, place: places.append(place) or self)
    rows = numbered(25)
    device = Cuda()
    BatchLoader(rows, 5, device=device)
    assert places == [device] * 3 * moved


@pytest.mark.parametrize("shuffle_seed", [None, 3])
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize(("rows", "batch_size"), [(20, 3), (1000, 50), (7, None)])
def test_chunks_hold_the_rows_of_a_pass(
    rows: int,
    batch_size: int | None,
    blocks: bool,
    shuffle_seed: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The size of 100 rows.
    monkeypatch.setattr(loaders, "CHUNK_BYTES", 24 * 100)
    found, expected = [], []
    for rank in range(2):
        loader, other = (
            BatchLoader(numbered(rows), batch_size, shuffle_seed, rank, 2, blocks=blocks)
            for _ in range(2)
        )
        next(iter(loader)), next(iter(other))
        place = loader.state_dict()
        first = numbers(list(loader.chunks(2)))
        chunks = list(loader.chunks(float("inf")))
        found += numbers(chunks)
        assert loader.state_dict() == place
        batches = list(other)
        if len(batches) > 2:
            assert first == numbers(batches[:2])
        expected += numbers(batches)
        assert len(chunks) == -(-rows // 2 // 100)
    # Compare all processes together, because each pass may give a row to another process.
    assert sorted(found) == sorted(expected)


def test_chunks_of_a_resumed_loader_cover_whole_passes() -> None:
    loader = BatchLoader(numbered(10), 2, 5)
    loader.load_state_dict({"pass": 0, "batches": 3, "rows": 10})
    assert sorted(numbers(list(loader.chunks(5)))) == list(range(10))
    assert len(set(numbers(list(loader.chunks(4))))) == 8
    assert len(list(loader)) == 2
