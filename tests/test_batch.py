import pyarrow
import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device

from linreg_lightning import Batch, InputError
from linreg_lightning.batch import KeptBatch

X, Y, WEIGHT = torch.ones(4, 3), torch.ones(4, 1), torch.ones(4)


def test_validate_returns_a_batch_of_matching_shapes() -> None:
    classes = Batch(X, torch.arange(4))
    for batch in (Batch(X, Y), Batch(X, Y, WEIGHT), Batch(X, torch.ones(4, 0)), classes):
        assert batch.validate() is batch
        assert batch.rows == 4


def test_validate_rows_takes_any_shape_with_the_same_rows() -> None:
    images = torch.ones(4, 1, 16, 16)
    for batch in (Batch(images, torch.arange(4), WEIGHT), Batch(images, images), Batch(X, Y)):
        assert batch.validate_rows() is batch
    for batch, message in (
        (Batch(images, torch.arange(5)), r"y: a shape of \(5,\) .* \(4, 1, 16, 16\); \(4, ...\)"),
        (Batch(torch.tensor(1.0), Y), "x: a single number was given"),
        (Batch(images, images, torch.ones(3)), r"weight: a shape of \(3,\)"),
    ):
        with pytest.raises(InputError, match=message):
            batch.validate_rows()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(torch.ones(4), Y), r"x: a shape of \(4,\)"),
        (Batch(X, torch.ones(4)), r"y: a shape of \(4,\) .* \(4, 3\); \(4, targets\).*unsqueeze"),
        (Batch(X, torch.arange(5)), r"y: a shape of \(5,\) .* \(4, 3\); \(4,\) is needed$"),
        (Batch(X, torch.ones(5, 1)), r"y: a shape of \(5, 1\) .* \(4, 3\)"),
        (Batch(X, Y, torch.ones(4, 1)), r"weight: a shape of \(4, 1\) .* \(4, 3\); \(4,\)"),
        (Batch(X, Y, torch.ones(3)), r"weight: a shape of \(3,\)"),
    ],
)
def test_validate_names_both_shapes_of_a_mismatch(batch: Batch, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batch.validate()


def test_moving_a_batch_to_a_device_returns_a_batch() -> None:
    moved = move_data_to_device(Batch(X, Y, WEIGHT), torch.device("cpu"))
    assert isinstance(moved, Batch)
    assert move_data_to_device(Batch(X, Y), torch.device("cpu")).weight is None


def test_kept_columns_stay_with_a_batch_that_moves_to_a_device() -> None:
    kept = pyarrow.record_batch({"id": [1, 2, 3, 4]})
    moved = move_data_to_device(KeptBatch(X, Y, None, kept), torch.device("meta"))
    assert isinstance(moved, KeptBatch)
    assert moved.x.device.type == "meta"
    assert moved.kept is kept


def test_map_keeps_a_weight_of_none() -> None:
    half = Batch(X, Y).map(lambda tensor: tensor[:2])
    assert half.rows == 2
    assert half.weight is None
    assert Batch(X, Y, WEIGHT).map(lambda tensor: tensor[:2]).weight.shape == (2,)
