"""What the data modules share: splits held in memory, batches, resuming; names of columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from linreg_lightning.batch import Batch, FoldBatch, NumberedRows
from linreg_lightning.checkpoint_file import CheckedLoading
from linreg_lightning.data.loader import BatchLoader, Loader
from linreg_lightning.data.row_folds import forget_groups, learn_groups, with_folds
from linreg_lightning.data.split_checks import check_kinds, check_splits
from linreg_lightning.data.stream_loader import StreamLoader
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import ColumnModel, NamedColumns, is_single_pass
from linreg_lightning.validation import check_argument

Split = Literal["train", "val", "test", "predict"]


class SupervisedDataModule(LightningDataModule, ABC):
    """Rows of any shape, split; the base of data for any supervised task.

    A subclass fills `splits` in `load`, each with a `Batch` of all rows of a split: x, (rows, ...),
    and y, (rows, ...), of which classes have one whole number a row, (rows,). It sets `class_names`
    where y is the number of a class, and calls `save_hyperparameters()`, so that a checkpoint makes
    the same rows again.

    Args:
        batch_size: rows in a batch of one process; None means all of them.
        shuffle: whether the rows to train on come in another order in each epoch; `blocks`: whether
            whole batches do, which is faster (see `BatchLoader`). The order depends on torch's seed
            (`--seed_everything`) and the epoch, never on the data's own seed.
        seed: of the generator that makes the rows or splits them; the order has another one.

    Raises:
        InputError: a batch size below 1; a seed below 0 or above 2^63 - 1.

    >>> class Parity(SupervisedDataModule):
    ...     class_names = ["even", "odd"]
    ...
    ...     def load(self, stage):
    ...         images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(self.seed))
    ...         self.splits["train"] = Batch(images, torch.arange(10) % 2)
    >>> data = Parity(batch_size=4)
    >>> data.setup("fit")
    >>> [tuple(batch.x.shape) for batch in data.train_dataloader()]
    [(4, 1, 8, 8), (4, 1, 8, 8), (2, 1, 8, 8)]
    """

    split_option: ClassVar[str] = "splits['{split}'] in load"
    """How to give a split rows, for the error that it has none; `{split}` stands for its name."""
    predicts_in_order: ClassVar[bool] = True
    """Whether several processes predict consecutive rows, in the order of their ranks."""
    class_names: list[str] = []  # noqa: RUF012  # a subclass or an instance replaces it
    """What the numbers in y stand for; empty if y holds no classes."""

    load_from_checkpoint = CheckedLoading()

    def __init__(
        self,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # A process may have no row to predict.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        check_argument("seed", seed, 0 <= seed < 2**63, "a whole number from 0 to 2^63 - 1")
        valid = batch_size is None or (isinstance(batch_size, Integral) and batch_size > 0)
        expected = "a whole number above 0, or null for all rows at once"
        check_argument("batch_size", batch_size, valid, expected)
        valid = shuffle in (True, False, "blocks")
        check_argument("shuffle", repr(shuffle), valid, "true, false or blocks")
        self.batch_size = None if batch_size is None else int(batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.splits: dict[Split, Batch | FoldBatch] = {}
        self._shuffle_seed: int | None = None
        self._train_loader: Loader | None = None
        self._resume_at: dict[str, Any] | None = None
        self._limit_val_batches: int | float | None = None

    def __str__(self) -> str:
        """Return what `repr` does: Lightning's text would read the rows, and not know a `Batch`."""
        return repr(self)

    @abstractmethod
    def load(self, stage: str) -> None:
        """Fill `splits` for a stage: fit, validate, test or predict; `setup` calls it."""

    def setup(self, stage: str) -> None:
        """Load the rows, name the model's columns, if any; skip validation without rows for it."""
        forget_groups(self.trainer)
        self.load(stage)
        check_kinds(self.splits, get_args(Split))
        if not isinstance(self, NamedColumns):  # tables are checked by the names of their columns
            check_splits(self.splits, self.class_names)
        if stage != TrainerFn.FITTING or self.trainer is None:
            return
        # Callbacks are set up before the model, and some copy its parameters there.
        model = self.trainer.lightning_module
        if isinstance(self, NamedColumns) and isinstance(model, ColumnModel):
            model.set_columns(self.feature_names, self.target_names)
        if not self.has_rows("val"):
            # Lightning warns of an empty loader.
            self._limit_val_batches = self.trainer.limit_val_batches
            self.trainer.limit_val_batches = 0

    def teardown(self, stage: str) -> None:
        if self._limit_val_batches is not None and self.trainer is not None:
            self.trainer.limit_val_batches = self._limit_val_batches
            self._limit_val_batches = None

    def has_rows(self, split: Split) -> bool:
        """Whether a split has any row."""
        return split in self.splits and self.splits[split].rows > 0

    def in_model_precision(self, batch: Any) -> Any:
        """Return a batch in the precision of a module from outside the package.

        That is the precision of its parameters, or of the module if it has none. A `ColumnModel`,
        such as each model of the package, gets the rows in their own precision.
        """
        module = None if self.trainer is None else self.trainer.lightning_module
        if module is None or isinstance(module, ColumnModel):
            return batch
        dtypes = (p.dtype for p in module.parameters() if p.is_floating_point())
        dtype = next(dtypes, module.dtype)
        is_float = [isinstance(part, Tensor) and part.is_floating_point() for part in batch]
        parts = zip(batch, is_float, strict=True)
        return type(batch)(*(part.to(dtype) if convert else part for part, convert in parts))

    def loader(
        self, split: Split, shuffle_seed: int | None = None, limit: int | float = 1.0
    ) -> Loader:
        """Return this process's batches of a split; `BatchLoader` says what the arguments mean."""
        if split not in self.splits:
            raise self._no_rows(split)
        rows = self.splits[split]
        if split == "train":
            if rows.rows < 2:
                count = "1 row" if rows.rows == 1 else "0 rows"
                name = type(self).__name__
                raise InputError(f"{name}: {count} to train on; a fit needs at least 2")
            rows = with_folds(rows, learn_groups(self.trainer, rows))
        rows = self.in_model_precision(rows)
        rank, world_size = self.rank_and_world_size
        if split == "predict" and world_size > 1:
            # Consecutive rows, so that the predictions of all ranks only need to be joined.
            first, last = (rows.rows * r // world_size for r in (rank, rank + 1))
            rows, rank, world_size = rows.select(slice(first, last)), 0, 1
            if first == last:
                return StreamLoader(lambda: iter(()), rows=0)
        blocks = self.shuffle == "blocks"
        device = None if self.trainer is None else self.trainer.strategy.root_device
        order = self.batch_size, shuffle_seed, rank, world_size, limit, blocks
        return BatchLoader(rows, *order, device=device)

    @property
    def rank_and_world_size(self) -> tuple[int, int]:
        """Which process this is, from 0, and how many there are."""
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> Loader:
        """Return the rows to fit, at least two."""
        limit = 1.0 if self.trainer is None else self.trainer.limit_train_batches
        seed = self._order_seed() if self._reorders() else None
        self._train_loader = self.loader("train", seed, limit)
        if self._resume_at is not None:
            # Lightning gives a loader its state only where the run stopped within an epoch.
            self._train_loader.load_state_dict(self._resume_at)
            self._resume_at = None
        return self._train_loader

    def val_dataloader(self) -> Loader | list[Loader]:
        """Return the rows for validation; none in a fit without them, even if a tuner asks."""
        fits = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        return [] if fits and not self.has_rows("val") else self._loader_with_rows("val")

    def test_dataloader(self) -> Loader:
        return self._loader_with_rows("test")

    def predict_dataloader(self) -> Loader:
        """Return the rows to predict, in their own order."""
        return self._loader_with_rows("predict")

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go through the rows in the same orders."""
        place = None if self._train_loader is None else self._train_loader.state_dict()
        return {"shuffle_seed": self._shuffle_seed, "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the orders of an earlier run."""
        self._shuffle_seed = state_dict["shuffle_seed"]
        self._resume_at = state_dict["place"]

    def _loader_with_rows(self, split: Split) -> Loader:
        if not self.has_rows(split):
            raise self._no_rows(split)
        return self.loader(split)

    def _no_rows(self, split: Split) -> InputError:
        remedy = f"give it some by {self.split_option.format(split=split)}"
        return InputError(f"{type(self).__name__}: no rows for {split}; {remedy}")

    def _reorders(self) -> bool:
        """Whether epochs order the rows anew: not those to overfit, nor those of a single pass."""
        trainer = self.trainer
        if trainer is None or not self.shuffle:
            return bool(self.shuffle)
        overfits = trainer.overfit_batches  # type: ignore[attr-defined]
        return not (overfits or is_single_pass(trainer.lightning_module))

    def _order_seed(self) -> int:
        """Return the seed that, with the number of the epoch, fixes the order of the rows."""
        if self._shuffle_seed is None:
            seed = torch.initial_seed()
            if self.trainer is not None:
                # Without --seed_everything each process has its own seed, and shares would overlap.
                seed = self.trainer.strategy.broadcast(seed)
            self._shuffle_seed = seed % 2**62  # room to add epochs: a generator takes up to 2^64
        return self._shuffle_seed


class RegressionDataModule(SupervisedDataModule):
    """Rows of a table, x (rows, features) and y (rows, targets), with a name for each column.

    A subclass sets `feature_names` and `target_names`, and fills `splits` in `load`.
    """

    feature_names: list[str]
    """The columns of x, known after `setup`; a column of ones is named `intercept`."""
    target_names: list[str]
    """The columns of y."""
    true_coefficients: dict[str, dict[str, float]] | None = None
    """Target to name to coefficient where the truth is known; else None."""

    @property
    def in_features(self) -> int:
        """The number of columns of x, known after `setup`."""
        return len(self.feature_names)

    @property
    def out_features(self) -> int:
        """The number of columns of y."""
        return len(self.target_names)

    def numbered_rows(self, kept: Sequence[str] = ()) -> Iterator[NumberedRows]:
        """Yield the rows to train on in their own order, numbered from 1.

        Raises:
            InputError: columns of a table to keep were named, and there is no table.
        """
        if kept:
            raise InputError(f"keep: {type(self).__name__} has no columns to keep; leave it out")
        if "train" not in self.splits:
            self.load("fit")
        rows = self.splits["train"]
        batch = rows if isinstance(rows, Batch) else rows.batch
        yield NumberedRows(batch, torch.arange(1, batch.rows + 1), lambda: batch.rows)

    def train_dataloader(self) -> Loader:
        """Return the rows to fit, at least two."""
        if not self.target_names:
            raise InputError(f"{type(self).__name__}: no y was given; a fit needs targets")
        return super().train_dataloader()
