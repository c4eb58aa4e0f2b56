"""The sums of an exact fit over passes, processes and checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch

from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_columns import with_columns
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.least_squares import EXACT_LIMIT
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

FORMAT = 1  # of the state in a checkpoint


class PassShape(NamedTuple):
    """How a pass divides the rows: batches on each process, and processes."""

    batches: int | float
    processes: int


@final
class GramState:
    """What a fit has added up on this process, over passes and earlier fits.

    `auto` adds exactly while the rows are few, and goes on in float64 from there; in a second pass
    it adds all of them exactly.
    """

    def __init__(self, accuracy: str) -> None:
        self.accuracy = accuracy
        self.fitted_gram: Gram | None = None  # finished passes of all processes; on the CPU
        self.current: Gram | None = None  # this process's rows in the current pass
        self.second_pass = False  # over the same rows
        # Of x, where the data know them; see `Gram.update`.
        self.column_bits: list[int] | None = None
        self._shape: PassShape | None = None
        self.rows_seen = 0  # by this process, since the current pass began or was resumed
        self.same_rows = False  # whether all processes have added the same ones, as `total` found

    def begin_pass(self, features: int, targets: int, device: torch.device, second: bool) -> None:
        """Begin a pass with no rows."""
        kind = Float64Gram if self.accuracy == "float64" else ExactGram
        self.current = kind(features, targets, device)
        self.second_pass, self.rows_seen = second, 0

    def resume_pass(self, device: torch.device, first_process: bool, shape: PassShape) -> None:
        """Go on with a checkpoint's pass; the first process takes over the sums of all."""
        assert self.current is not None
        assert self._shape is not None
        if shape != self._shape:
            raise InputError(
                f"ckpt_path: the checkpoint is from the middle of a pass of {self._shape.batches} "
                f"batches on {self._shape.processes} processes; go on with the same rows, "
                "batch_size and devices"
            )
        gram, self.rows_seen = self.current, 0
        empty = type(gram)(gram.features, gram.targets, device)
        self.current = gram.to(device) if first_process else empty

    def check_accuracy(self) -> None:
        """Refuse, with an InputError, to make exact what a checkpoint has added in float64."""
        earlier = [gram for gram in (self.fitted_gram, self.current) if gram is not None]
        if self.accuracy == "exact" and any(gram.accuracy != "exact" for gram in earlier):
            raise InputError(
                "accuracy: exact was given, but the earlier rows were added in float64; "
                "leave it out, or fit all rows anew"
            )

    def cost_note(self, rows: float) -> str | None:
        """Return what a pass over this many rows takes if the table is wide, else None."""
        gram = self.current
        assert gram is not None
        many = rows * (gram.features + gram.targets) > EXACT_LIMIT
        rounds = self.accuracy == "auto" and not self.second_pass and many
        return cost_note("float64" if rounds else gram.accuracy, gram.features, rows)

    def add(self, batch: Batch, processes: int, names: list[str]) -> None:
        """Add a batch to the current pass, in which each process adds about as many rows."""
        gram = self.current
        assert gram is not None
        numbers = processes * (gram.rows + batch.rows) * (gram.features + gram.targets)
        many = self.accuracy == "auto" and not self.second_pass and numbers > EXACT_LIMIT
        if many or self.accuracy == "float64":
            gram = Float64Gram.from_gram(gram)
        gram.update(batch, self.rows_seen, names, self.column_bits)
        self.current, self.rows_seen = gram, self.rows_seen + batch.rows

    def total(self, processes: int) -> Gram:
        """Return the sums of the current pass and of all rows fitted, of all processes."""
        earlier = [] if self.fitted_gram is None else [self.fitted_gram]
        return _merge_all([self._current_of_all(processes), *earlier])

    def end_pass(self, total: Gram) -> None:
        """End the pass; the total becomes the sums of all rows fitted."""
        self.fitted_gram, self.current, self.second_pass = total, None, False

    def state_dict(self, shape: PassShape) -> dict[str, Any]:
        """Return the state for a checkpoint; all processes must call this together."""
        current = None if self.current is None else self._current_of_all(shape.processes)
        return {
            "format": FORMAT,
            "done": None if self.fitted_gram is None else _to_state(self.fitted_gram),
            "partial": None if current is None else _to_state(current),
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
        self.fitted_gram = None if state["done"] is None else _from_state(state["done"])
        self.current = None if state["partial"] is None else _from_state(state["partial"])
        self.second_pass, self._shape = state["second"], PassShape(**state["cut"])

    def select_columns(self, places: Sequence[int | None]) -> None:
        """Take other columns of x for all rows so far; `places` as in `with_columns`."""
        if self.fitted_gram is not None:
            self.fitted_gram = with_columns(self.fitted_gram, places)
        if self.current is not None:
            self.current = with_columns(self.current, places)

    def _current_of_all(self, processes: int) -> Gram:
        assert self.current is not None
        mine = _to_state(self.current.to("cpu"))
        states: list[Any] = [mine] * processes
        if processes > 1:
            torch.distributed.all_gather_object(states, mine)
        grams = [_from_state(state) for state in states]
        self.same_rows = processes > 1 and all(_same_sums(grams[0], gram) for gram in grams[1:])
        return _merge_all(grams)


def _same_sums(first: Gram, second: Gram) -> bool:
    """Whether rows that vary have the same sums, but for rounding in another order."""
    if first.rows != second.rows or first.rows == 0:
        return False
    one, other = (Float64Gram.from_gram(gram).normal_equations() for gram in (first, second))
    return bool(
        torch.equal(one.exponent, other.exponent)
        and torch.allclose(one.mean.high, other.mean.high, rtol=1e-9, atol=0)
        and torch.allclose(one.cross, other.cross, rtol=1e-9, atol=0)
        and one.cross.any()
    )


def _merge_all(grams: list[Gram]) -> Gram:
    if any(gram.accuracy == "float64" for gram in grams):
        grams = [Float64Gram.from_gram(gram) for gram in grams]
    total = grams[0].to("cpu")
    for other in grams[1:]:
        total.merge(other)
    return total


def _to_state(gram: Gram) -> dict[str, Any]:
    return {"accuracy": gram.accuracy, **gram.state_dict()}


def _from_state(state: Mapping[str, Any]) -> Gram:
    kind = Float64Gram if state["accuracy"] == "float64" else ExactGram
    return kind.from_state_dict({name: state[name] for name in state if name != "accuracy"})
