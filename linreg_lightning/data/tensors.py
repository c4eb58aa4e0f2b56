"""Rows already in memory: tensors, NumPy arrays, data frames."""

from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from linreg_lightning.algebra.folds import group_numbers
from linreg_lightning.algebra.keys import key_numbers
from linreg_lightning.batch import Batch, GroupBatch, KeyBatch, significant_bits
from linreg_lightning.data.base import RegressionDataModule
from linreg_lightning.data.row_folds import fold_rule
from linreg_lightning.data.row_keys import check_names, set_model_keys
from linreg_lightning.errors import InputError
from linreg_lightning.frames import collect, is_frame
from linreg_lightning.protocols import ChecksValues
from linreg_lightning.validation import (
    check_fractions,
    check_rows,
    group_values,
    own_names,
    rows_to_tensors,
)


@final
class TensorData(RegressionDataModule):
    """Rows already in memory, used as they are: not copied, and in their own precision.

    A data frame or a series of any library names the columns; else they are x1, x2, ... and y.
    Frames and series of pandas are paired by the labels of their rows.

    Args:
        x: the features, (rows, features): a tensor, a NumPy array, a data frame, nested lists.
        y: the targets, (rows,) for one or (rows, targets); None if rows are only to be predicted.
        weight: how much each row counts, (rows,), 0 or above; None means 1 for every row. A row of
            weight 0 does not count: its values may be missing.
        val_fraction: the fraction of rows for validation, 0 for none.
        test_fraction: the fraction of rows for the test, 0 for none.
        batch_size: rows in a batch; None for all at once.
        shuffle: whether each epoch orders the rows anew; `blocks` orders batches, which is faster.
        seed: of the random split; torch's own seed decides the order of the rows.
        feature_names: names for the columns of x, instead of their own.
        target_names: names for the columns of y, instead of their own.
        group: the group of each row, (rows,), such as its patient; numbers or text. Each group
            stays in one fold of a cross-validation.
        cluster: the cluster of each row, (rows,), such as its state; numbers or text; or a list or
            frame of two such columns. Errors of rows of a cluster may be correlated: for
            `LeastSquares(errors="cluster")`.
        absorb: the level of each row, such as its user, or two columns of levels, as `cluster`.
            Each level has an effect of its own in a `LeastSquares` fit: the same coefficients as
            with an indicator for each level, without the memory of these.

    Raises:
        InputError: shapes or labels of rows that do not belong together; a negative weight; names
            that do not fit; text or categories, which `TabularData` takes; when a run begins, NaN
            or infinity, with its column and row.

    >>> data = TensorData(x=torch.randn(10, 3), y=torch.randn(10), val_fraction=0.2)
    >>> data.setup("fit")
    >>> data.splits["train"].x.shape, data.splits["train"].y.shape
    (torch.Size([8, 3]), torch.Size([8, 1]))
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2"

    def __init__(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
        feature_names: list[str] | None = None,
        target_names: list[str] | None = None,
        group: Any = None,
        cluster: Any = None,
        absorb: Any = None,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        check_fractions(val_fraction, test_fraction)
        self._fractions = val_fraction, test_fraction
        x, y = (collect(values) if is_frame(values) else values for values in (x, y))
        self._given = rows_to_tensors(x, y, weight)
        features, targets = self._given.x, self._given.y
        count = self._given.rows
        self._groups = None if group is None else group_values("group", group, count, x)
        self._keys, self.cluster_names, self.absorbed_names = self._number_keys(cluster, absorb, x)
        check_names(
            {"cluster": [], "absorb": self.absorbed_names}, {"by": []}, any(self._fractions)
        )
        self._feature_bits = [significant_bits(dtype) for dtype in _column_types(x, features)]
        self.feature_names = _names("feature_names", feature_names, x, "x", features.shape[1])
        self.target_names = _names("target_names", target_names, y, "y", targets.shape[1])
        checks_now = weight is not None or "intercept" in self.feature_names
        self._checked = self._check() if checks_now else None
        self.save_hyperparameters(ignore=["x", "y", "weight", "group", "cluster", "absorb"])

    def feature_bits(self) -> list[int]:
        """The significant bits of the type of each column of x, as it was given."""
        return self._feature_bits

    def load(self, stage: str) -> None:
        """Check and split the rows."""
        set_model_keys(self.trainer, self.cluster_names, self.absorbed_names)
        if self._checked is None and not self._model_checks_rows(stage):
            self._checked = self._check()
        rows = self._given if self._checked is None else self._checked
        split = *self._fractions, self.seed
        train, val, test = random_split(rows, *split)
        self.splits |= {"train": train, "val": val, "test": test}
        rule = fold_rule(self.trainer, self._groups is not None)
        if self._groups is not None and rule is not None:
            number = group_numbers(*self._groups).to(rows.x.device)
            groups = random_split(Batch(number, number), *split)[0].x
            self.splits["train"] = GroupBatch(*train, groups)
        if stage == "fit" and self._keys is not None:
            keys = self._keys.to(rows.x.device)
            parts = random_split(Batch(keys, keys), *split)[0].x
            self.splits["train"] = KeyBatch(*train, parts)
        # A row of weight 0 has no prediction where its values are missing.
        self.splits["predict"] = self._given

    def _number_keys(
        self, cluster: Any, absorb: Any, x: Any
    ) -> tuple[Tensor | None, list[str], list[str]]:
        """Return the keys of the rows, (rows, keys), and the names of clusters and of effects."""
        keys, names = [], dict[str, list[str]]()
        for argument, values in (("cluster", cluster), ("absorb", absorb)):
            names[argument] = []
            if values is not None:
                numbers, own_names = key_numbers(argument, values, self._given.rows, x)
                keys.append(numbers)
                names[argument] = list(own_names)
        return torch.cat(keys, 1) if keys else None, names["cluster"], names["absorb"]

    def _check(self) -> Batch:
        return check_rows(self._given, self.feature_names, self.target_names)

    def _model_checks_rows(self, stage: str) -> bool:
        """Whether the model refuses NaN and infinity by itself, with the row's number in `x`."""
        if self.trainer is None or stage != "fit" or self.trainer.world_size > 1:
            return False
        model = self.trainer.lightning_module
        return isinstance(model, ChecksValues) and model.checks_values and not any(self._fractions)


def random_split(
    rows: Batch, val_fraction: float = 0.0, test_fraction: float = 0.0, seed: int = 0
) -> tuple[Batch, Batch, Batch]:
    """Split rows at random into disjoint train, validation and test rows, which keep their order.

    The number of rows, the fractions, rounded to whole rows, and the seed alone decide.

    Raises:
        InputError: a fraction outside [0, 1], or two whose sum is above 1.

    >>> rows = Batch(torch.randn(10, 3), torch.randn(10, 1))
    >>> [part.rows for part in random_split(rows, val_fraction=0.2, test_fraction=0.1)]
    [7, 2, 1]
    """
    check_fractions(val_fraction, test_fraction)
    n_val, n_test = round(rows.rows * val_fraction), round(rows.rows * test_fraction)
    if n_val + n_test == 0:
        # No copy of the rows is needed.
        none = rows.select(slice(0))
        return rows, none, none
    n_train = max(rows.rows - n_val - n_test, 0)
    order = torch.randperm(rows.rows, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split([n_train, n_train + n_val])
    train, val, test = (rows.select(part.sort().values.to(rows.x.device)) for part in parts)
    return train, val, test


def _column_types(x: Any, features: Tensor) -> list[Any]:
    """Return the types of a frame's or pyarrow table's columns, or that of the tensor for each."""
    types = getattr(getattr(x, "schema", None), "types", getattr(x, "dtypes", None))
    if types is None:
        return [features.dtype] * features.shape[1]
    return [str(dtype).removesuffix("[pyarrow]") for dtype in types]


def _names(
    argument: str, given: list[str] | None, source: Any, prefix: str, columns: int
) -> list[str]:
    """Return the names given, else those of a frame, else x1, x2, ... or y."""
    if given is None:
        numbered = [f"{prefix}{j}" for j in range(1, columns + 1)]
        given = own_names(source) or (["y"] if numbered == ["y1"] else numbered)
    if len(given) != columns or len(set(given)) != columns:
        raise InputError(f"{argument}: {given} was given; {columns} different names are needed")
    return list(given)
