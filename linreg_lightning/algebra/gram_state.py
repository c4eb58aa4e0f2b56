"""The sums of an exact fit over passes, processes and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast, final, overload

import torch
from torch import Tensor

from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_columns import with_columns
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.least_squares import EXACT_LIMIT
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

FORMAT = 1  # of the state in a checkpoint
Sums = TypeVar("Sums", bound=Gram | FoldSums)


class PassShape(NamedTuple):
    """How a pass divides the rows: batches on each process, and processes."""

    batches: int | float
    processes: int

    def check(self, shape: PassShape) -> None:
        """Refuse, with an InputError, to go on with a pass in another shape."""
        if shape != self:
            raise InputError(
                f"ckpt_path: the checkpoint is from the middle of a pass of {self.batches} batches "
                f"on {self.processes} processes; go on with the same rows, batch_size and devices"
            )


@final
class GramState(Generic[Sums]):
    """What a fit has added up on this process, over passes and earlier fits.

    `auto` adds exactly while the rows are few, and goes on in float64 from there; in a second pass
    it adds all of them exactly. The sums are a `Gram`, or where there are `folds`, `FoldSums`.
    """

    @overload
    def __init__(self: GramState[Gram], accuracy: str, folds: None = None) -> None: ...

    @overload
    def __init__(self: GramState[FoldSums], accuracy: str, folds: int) -> None: ...

    def __init__(self, accuracy: str, folds: int | None = None) -> None:
        self.accuracy, self.folds = accuracy, folds
        self.fitted_gram: Sums | None = None  # finished passes of all processes; on the CPU
        self.current: Sums | None = None  # this process's rows in the current pass
        self.second_pass = False  # over the same rows
        # Of x, where the data know them; see `Gram.update`.
        self.column_bits: list[int] | None = None
        self._shape: PassShape | None = None
        self.rows_seen = 0  # by this process, since the current pass began or was resumed
        self.same_rows = False  # whether all processes have added the same ones, as `total` found

    def begin_pass(self, features: int, targets: int, device: torch.device, second: bool) -> None:
        """Begin a pass with no rows."""
        self.current = self._no_rows(self.accuracy, features, targets, device)
        self.second_pass, self.rows_seen = second, 0

    def resume_pass(self, device: torch.device, first_process: bool, shape: PassShape) -> None:
        """Go on with a checkpoint's pass; the first process takes over the sums of all."""
        assert self.current is not None
        assert self._shape is not None
        self._shape.check(shape)
        sums, self.rows_seen = self.current, 0
        empty = self._no_rows(sums.accuracy, sums.features, sums.targets, device)
        self.current = cast(Sums, sums.to(device)) if first_process else empty

    @property
    def rows_to_resume(self) -> int:
        """The number of rows of weight above 0 that the current pass has added already."""
        return 0 if self.current is None else _row_count(self.current)

    def check_accuracy(self) -> None:
        """Refuse, with an InputError, to make exact what a checkpoint has added in float64."""
        earlier = [sums for sums in (self.fitted_gram, self.current) if sums is not None]
        if self.accuracy == "exact" and any(sums.accuracy != "exact" for sums in earlier):
            raise InputError(
                "accuracy: exact was given, but the earlier rows were added in float64; "
                "leave it out, or fit all rows anew"
            )

    def cost_note(self, rows: float) -> str | None:
        """Return what a pass over this many rows takes if the table is wide, else None."""
        sums = self.current
        assert sums is not None
        rounds = self._rounds(rows * (sums.features + sums.targets))
        accuracy = "float64" if rounds else sums.accuracy
        return cost_note(accuracy, sums.features, rows, self.folds or 1)

    def add(
        self, batch: Batch, processes: int, names: list[str], fold: Tensor | None = None
    ) -> None:
        """Add a batch to the current pass, in which each process adds about as many rows.

        `fold` is that of each row, (rows,) whole numbers, where there are folds.
        """
        sums = self.current
        assert sums is not None
        rows = processes * (_row_count(sums) + batch.rows)
        if self._rounds(rows * (sums.features + sums.targets)):
            sums = _to_float64(sums)
        if isinstance(sums, FoldSums):
            assert fold is not None
            sums.update(batch, fold, self.rows_seen, names, self.column_bits)
        else:
            sums.update(batch, self.rows_seen, names, self.column_bits)
        self.current, self.rows_seen = sums, self.rows_seen + batch.rows

    def total(self, processes: int) -> Sums:
        """Return the sums of the current pass and of all rows fitted, of all processes."""
        earlier = [] if self.fitted_gram is None else [self.fitted_gram]
        return _merge_all([self._current_of_all(processes), *earlier])

    def end_pass(self, total: Sums) -> None:
        """End the pass; the total becomes the sums of all rows fitted."""
        self.fitted_gram, self.current, self.second_pass = total, None, False

    def state_dict(self, shape: PassShape) -> dict[str, Any]:
        """Return the state for a checkpoint; all processes must call this together."""
        current = None if self.current is None else self._current_of_all(shape.processes)
        return {
            "format": FORMAT,
            "done": None if self.fitted_gram is None else gram_state(self.fitted_gram),
            "partial": None if current is None else gram_state(current),
            "second": self.second_pass,
            "cut": shape._asdict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; refuse another format with an InputError."""
        written = state.get("format", 0)
        if written != FORMAT:
            raise InputError(
                f"ckpt_path: the checkpoint's statistics are of format {written}, and this version "
                f"of linreg_lightning reads format {FORMAT}; fit the rows anew, or use the "
                f"{'later' if written > FORMAT else 'earlier'} version that wrote it"
            )
        self.fitted_gram = self._from_state(state["done"])
        self.current = self._from_state(state["partial"])
        self.second_pass, self._shape = state["second"], PassShape(**state["cut"])

    def select_columns(self, places: Sequence[int | None]) -> None:
        """Take other columns of x for all rows so far; `places` as in `with_columns`."""
        if self.fitted_gram is not None:
            self.fitted_gram = _with_columns(self.fitted_gram, places)
        if self.current is not None:
            self.current = _with_columns(self.current, places)

    def _rounds(self, numbers: float) -> bool:
        """Whether a pass over this many numbers, so far or in all, is in float64."""
        if self.accuracy == "auto":
            return not self.second_pass and numbers > EXACT_LIMIT
        return self.accuracy == "float64"

    def _no_rows(self, accuracy: str, features: int, targets: int, device: torch.device) -> Sums:
        kind = Float64Gram if accuracy == "float64" else ExactGram
        if self.folds is None:
            return cast(Sums, kind(features, targets, device))
        return cast(Sums, FoldSums(kind, self.folds, features, targets, device))

    def _current_of_all(self, processes: int) -> Sums:
        assert self.current is not None
        mine = gram_state(self.current.to("cpu"))
        states: list[Any] = [mine] * processes
        if processes > 1:
            torch.distributed.all_gather_object(states, mine)
        sums = [cast(Sums, gram_from_state(state)) for state in states]
        self.same_rows = processes > 1 and all(_same_sums(sums[0], other) for other in sums[1:])
        return _merge_all(sums)

    def _from_state(self, state: Mapping[str, Any] | None) -> Sums | None:
        if state is None:
            return None
        sums = gram_from_state(state)
        written = len(sums.grams) if isinstance(sums, FoldSums) else None
        if written != self.folds:
            remedy = "" if written is None else f"type {written}, or "
            raise InputError(
                f"folds: {self.folds} was given, but the checkpoint has sums of {written or 'no'} "
                f"folds; {remedy}fit all rows anew"
            )
        return cast(Sums, sums)


def _row_count(sums: Gram | FoldSums) -> int:
    return sums.row_count if isinstance(sums, FoldSums) else sums.rows


def _total(sums: Gram | FoldSums) -> Gram:
    return sums.total() if isinstance(sums, FoldSums) else sums


def _to_float64(sums: Sums) -> Sums:
    rounded = sums.to_float64() if isinstance(sums, FoldSums) else Float64Gram.from_gram(sums)
    return cast(Sums, rounded)


def _with_columns(sums: Sums, places: Sequence[int | None]) -> Sums:
    if isinstance(sums, FoldSums):
        return cast(Sums, sums.with_columns(places))
    return cast(Sums, with_columns(sums, places))


def _same_sums(first: Gram | FoldSums, second: Gram | FoldSums) -> bool:
    """Whether rows that vary have the same sums, but for rounding in another order."""
    grams = _total(first), _total(second)
    if grams[0].rows != grams[1].rows or grams[0].rows == 0:
        return False
    one, other = (Float64Gram.from_gram(gram).normal_equations() for gram in grams)
    return bool(
        torch.equal(one.exponent, other.exponent)
        and torch.allclose(one.mean.high, other.mean.high, rtol=1e-9, atol=0)
        and torch.allclose(one.cross, other.cross, rtol=1e-9, atol=0)
        and one.cross.any()
    )


def _merge_all(parts: list[Sums]) -> Sums:
    if any(sums.accuracy == "float64" for sums in parts):
        parts = [_to_float64(sums) for sums in parts]
    total: Any = parts[0].to("cpu")
    for other in parts[1:]:
        total.merge(other)
    return cast(Sums, total)


def gram_state(sums: Gram | FoldSums) -> dict[str, Any]:
    """Return sums as plain values, with their accuracy."""
    return {"accuracy": sums.accuracy, **sums.state_dict()}


def gram_from_state(state: Mapping[str, Any]) -> Gram | FoldSums:
    """Return the sums of a `gram_state`."""
    if "folds" in state:
        return FoldSums.from_state_dict(state)
    kind = Float64Gram if state["accuracy"] == "float64" else ExactGram
    return kind.from_state_dict({name: state[name] for name in state if name != "accuracy"})
