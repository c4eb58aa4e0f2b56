"""What the data modules share: named columns, splits held in memory, whole batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.data.loader import BatchLoader
from linreg_lightning.data.stream_loader import InOrderLoader, StreamLoader
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import ColumnModel

Split = Literal["train", "val", "test", "predict"]
Loader = BatchLoader | StreamLoader | InOrderLoader


class RegressionDataModule(LightningDataModule, ABC):
    """Rows, split, with a name for each column; a subclass says where they come from.

    A subclass fills `splits`, with rows in memory, in `load`. A model that is given no shape of its
    own takes it, and the names of its coefficients, from `feature_names` and `target_names`.

    Args:
        batch_size: rows in a batch of one process; None means all of them.
        shuffle: whether the rows to train on come in another order each epoch; `blocks`: whether
            the batches do, which is faster (BatchLoader says what it means). The order depends on
            torch's seed (`--seed_everything`) and the epoch, never on the data's own seed.
        seed: of the rows or of their split, in a generator of its own.

    Raises:
        InputError: a batch size below 1; a seed below 0 or above 2^63 - 1.
    """

    split_option: ClassVar[str]
    """The argument by which a split is given rows, `{split}` standing for its name."""
    predicts_in_order: ClassVar[bool] = True
    """Whether the rows that processes predict, one process behind the other, are in their order."""

    def __init__(
        self, batch_size: int | None, shuffle: bool | Literal["blocks"], seed: int
    ) -> None:
        super().__init__()
        # A process may have no row to predict.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        if not 0 <= seed < 2**63:
            raise InputError(f"seed: {seed} was given; type a whole number from 0 to 2^63 - 1")
        if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
            raise InputError(
                f"batch_size: {batch_size} was given; "
                "type a whole number above 0, or null for all rows at once"
            )
        if shuffle not in (True, False, "blocks"):
            raise InputError(f"shuffle: {shuffle!r} was given; type true, false or blocks")
        self.batch_size = None if batch_size is None else int(batch_size)
        self.shuffle = shuffle
        self.splits: dict[Split, Batch] = {}
        self._shuffle_seed: int | None = None
        self._train_loader: BatchLoader | StreamLoader | None = None
        self._place: dict[str, int] | None = None
        self._limit_val_batches: int | float | None = None

    @abstractmethod
    def load(self, stage: str) -> None:
        """Fill `splits` with what the stage needs: fit, validate, test or predict."""

    @property
    @abstractmethod
    def feature_names(self) -> list[str]:
        """The columns of x; a column of ones is named `intercept`. Needs no `setup`."""

    @property
    @abstractmethod
    def target_names(self) -> list[str]:
        """The columns of y. Needs no `setup`."""

    @property
    def true_coefficients(self) -> dict[str, dict[str, float]] | None:
        """Target to name to coefficient where the truth is known; else None."""
        return None

    @property
    def in_features(self) -> int:
        """The number of columns of x."""
        return len(self.feature_names)

    @property
    def out_features(self) -> int:
        """The number of columns of y."""
        return len(self.target_names)

    def setup(self, stage: str) -> None:
        """Load the rows; a fit without validation rows does without validation."""
        self.load(stage)
        if stage != TrainerFn.FITTING or self.trainer is None:
            return
        # Callbacks are set up before the model: those that copy it need its parameters by then.
        model = self.trainer.lightning_module
        if isinstance(model, ColumnModel):
            model.set_columns(self.feature_names, self.target_names)
        if not self.has_rows("val"):
            # An empty loader would do as well, were it not for Lightning's warning of it.
            self._limit_val_batches = self.trainer.limit_val_batches
            self.trainer.limit_val_batches = 0

    def teardown(self, stage: str) -> None:
        """Leave the Trainer as it was."""
        if self._limit_val_batches is not None and self.trainer is not None:
            self.trainer.limit_val_batches = self._limit_val_batches
            self._limit_val_batches = None

    def has_rows(self, split: Split) -> bool:
        """Whether a split has any."""
        return self.splits[split].rows > 0

    def loader(
        self, split: Split, shuffle_seed: int | None = None, limit: int | float = 1.0
    ) -> Loader:
        """This process's batches of a split.

        Args:
            split: which.
            shuffle_seed: of the order of its rows, or None.
            limit: how many batches of a pass, or which fraction of them, will be taken.
        """
        rows = self.splits[split]
        if split == "train" and rows.rows < 2:
            raise too_few_rows(self, rows.rows)
        rank, world_size = self.rank_of_world
        if split == "predict" and world_size > 1:
            # In succession, so that predictions need only be put one behind the other.
            first, last = (rows.rows * r // world_size for r in (rank, rank + 1))
            rows, rank, world_size = rows.map(lambda tensor: tensor[first:last]), 0, 1
            if first == last:
                return StreamLoader(lambda: iter(()), 1, 1, rows=0)
        return BatchLoader(
            rows,
            self.batch_size,
            shuffle_seed,
            rank,
            world_size,
            limit,
            blocks=self.shuffle == "blocks",
            device=None if self.trainer is None else self.trainer.strategy.root_device,
        )

    @property
    def rank_of_world(self) -> tuple[int, int]:
        """Which process this is, from 0, and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def keep(self, columns: Sequence[str]) -> None:
        """Ask for columns that `kept` hands out beside the rows to predict.

        Raises:
            InputError: there are no columns but those of x.
        """
        raise InputError(f"--keep: {type(self).__name__} has no other columns; leave it out")

    def kept(self) -> Any:
        """Those columns of the next batch to be predicted, a pyarrow record batch."""
        raise NotImplementedError("nothing was asked for by keep")

    def train_dataloader(self) -> Loader:
        """The rows to fit, at least two."""
        if not self.target_names:
            raise InputError(f"{type(self).__name__}: no y was given; a fit needs targets")
        limit = 1.0 if self.trainer is None else self.trainer.limit_train_batches
        seed = self._passes_seed() if self._shuffles else None
        loader = self.loader("train", seed, limit)
        assert not isinstance(loader, InOrderLoader)
        self._train_loader = loader
        if self._place is not None:
            # Lightning itself gives a loader its state only if it was stopped within an epoch.
            loader.load_state_dict(self._place)
            self._place = None
        return loader

    def val_dataloader(self) -> Loader | list[Loader]:
        """The rows for validation; a fit does without, also where a tuner asks for them."""
        fits = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        return [] if fits and not self.has_rows("val") else self._held_out("val")

    def test_dataloader(self) -> Loader:
        """The rows for the test."""
        return self._held_out("test")

    def predict_dataloader(self) -> Loader:
        """The rows to predict, in their own order."""
        return self._held_out("predict")

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on through the rows in the same orders."""
        place = None if self._train_loader is None else self._train_loader.state_dict()
        return {"shuffle_seed": self._shuffle_seed, "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the orders over from an earlier run."""
        self._shuffle_seed = state_dict["shuffle_seed"]
        self._place = state_dict["place"]

    def _held_out(self, split: Split) -> Loader:
        if not self.has_rows(split):
            option = self.split_option.format(split=split)
            raise InputError(
                f"{type(self).__name__}: no rows for {split}; give it some by --data.{option}"
            )
        return self.loader(split)

    @property
    def _shuffles(self) -> bool:
        """Whether the order of the rows is to change, and makes a difference to the model."""
        model = None if self.trainer is None else self.trainer.lightning_module
        # Where some batches are to be overfitted, each epoch has the same.
        fixed = getattr(model, "one_pass", False) or getattr(self.trainer, "overfit_batches", 0)
        return bool(self.shuffle) and not fixed

    def _passes_seed(self) -> int:
        if self._shuffle_seed is None:
            seed = torch.initial_seed()
            if self.trainer is not None:
                # Unseeded, each process has a seed of its own, and their shares would overlap.
                seed = self.trainer.strategy.broadcast(seed)
            # A 64-bit random seed plus the pass would no longer be one that a generator takes.
            self._shuffle_seed = seed % 2**62
        return self._shuffle_seed


def too_few_rows(data: RegressionDataModule, rows: int) -> InputError:
    """What to say where there is nothing to fit."""
    plural = "" if rows == 1 else "s"
    return InputError(
        f"{type(data).__name__}: {rows} row{plural} to train on; a fit needs at least 2"
    )


def check_values(rows: Batch, feature_names: list[str], target_names: list[str]) -> Batch:
    """Refuse what would end in a silently wrong number.

    Returns:
        The rows themselves; or a copy with zeros for what is not finite in rows of weight 0, which
        are as good as absent.

    Raises:
        InputError: a value that is not finite, with its column and its row, counted from 1; a
            negative weight or none above 0; a column named `intercept` that is not all ones.
    """
    absent = None
    if rows.weight is not None:
        _filled(rows.weight.unsqueeze(1), ["weight"], None)
        absent = rows.weight == 0
        negative = (rows.weight < 0).nonzero()
        if len(negative):
            row = int(negative[0, 0])
            raise InputError(
                f"weight: {rows.weight[row].item():g} was given in row {row + 1}; "
                "weights must be 0 or above"
            )
        if absent.all():
            raise InputError("weight: it is 0 in every row; at least one row must count")
    x = _filled(rows.x, feature_names, absent)
    if "intercept" in feature_names:
        other = x[:, feature_names.index("intercept")] != 1
        if (other if absent is None else other & ~absent).any():
            raise InputError(
                "column 'intercept': this name is the constant's, but the column is not all ones; "
                "rename it"
            )
    return Batch(x, _filled(rows.y, target_names, absent), rows.weight)


def _filled(values: Tensor, names: list[str], absent: Tensor | None) -> Tensor:
    """The values, with zeros where they are not finite in absent rows; others are refused."""
    # One pass without a copy: a NaN or an infinity shows in the sum. So does an overflow, which the
    # closer look acquits.
    if values.sum().isfinite():
        return values
    wrong = ~values.isfinite()
    bad = wrong.nonzero() if absent is None else (wrong & ~absent[:, None]).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise InputError(
            f"column {names[column]!r}: row {row + 1} holds {values[row, column].item()}; "
            "remove the row or fill in a number"
        )
    return values.masked_fill(wrong, 0.0) if wrong.any() else values
