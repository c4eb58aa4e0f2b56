"""The sums behind an exact fit: of the rows that have been fitted, and of a pass under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import torch

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

GRAMS: dict[str, type[Gram]] = {"exact": ExactGram, "float64": Float64Gram}
SMALL = 2**20
"""How many numbers `auto` adds exactly: it takes no time that anybody would notice."""

FORMAT = 1
"""Of the state in a checkpoint: another number whenever its parts, or their meaning, change."""


class Cut(NamedTuple):
    """How the rows of a pass are cut: into so many batches on each of so many processes."""

    batches: int | float
    processes: int


@final
class GramState:
    """What a fit has added up, on this process, over passes and earlier fits.

    `auto` adds exactly until the rows are no longer few, and goes on in float64 from there; in a
    second pass it adds all of them exactly.

    Attributes:
        done: sums of all rows that have been fitted, of all processes, on the CPU; None before.
        under_way: sums of this process's rows in the present pass; None between passes.
        second: whether the present pass is a second one over the same rows.
    """

    def __init__(self, accuracy: str) -> None:
        self.accuracy = accuracy
        self.done: Gram | None = None
        self.under_way: Gram | None = None
        self.second = False
        self._cut: Cut | None = None
        self._seen = 0

    def clear(self) -> None:
        """Forget all rows."""
        self.done = self.under_way = None
        self.second = False

    def begin(self, features: int, targets: int, device: torch.device, second: bool) -> None:
        """Begin a pass with no rows."""
        kind = Float64Gram if self.accuracy == "float64" else ExactGram
        self.under_way = kind(features, targets, device)
        self.second, self._seen = second, 0

    def resume(self, device: torch.device, first: bool, cut: Cut) -> None:
        """Go on with the pass that a checkpoint was made in.

        Args:
            device: where the rows will be.
            first: whether this process takes over what all of them had added.
            cut: how the rows are cut.

        Raises:
            InputError: they were cut otherwise.
        """
        assert self.under_way is not None
        assert self._cut is not None
        if cut != self._cut:
            raise InputError(
                f"ckpt_path: the checkpoint is from the middle of a pass of {self._cut.batches} "
                f"batches on {self._cut.processes} processes; go on with the same rows, "
                "batch_size and devices"
            )
        gram = self.under_way
        empty = type(gram)(gram.features, gram.targets, device)
        self.under_way, self._seen = gram.to(device) if first else empty, 0

    @property
    def begun(self) -> bool:
        """Whether rows have been added in the present pass."""
        return self.under_way is not None and self._seen > 0

    def check_accuracy(self) -> None:
        """Refuse to promise more than the sums of a checkpoint hold.

        Raises:
            InputError: `exact` is asked for, and earlier rows were added in float64.
        """
        earlier = [gram for gram in (self.done, self.under_way) if gram is not None]
        if self.accuracy == "exact" and any(gram.accuracy != "exact" for gram in earlier):
            raise InputError(
                "accuracy: exact was given, but the earlier rows were added in float64; "
                "leave it out, or fit all rows anew"
            )

    def add(self, batch: Batch, processes: int, names: list[str]) -> None:
        """Add a batch to the pass.

        Args:
            batch: the rows.
            processes: how many take part, each with as many rows.
            names: of the columns of x and y, for messages.
        """
        gram = self.under_way
        assert gram is not None
        numbers = processes * (gram.rows + batch.rows) * (gram.features + gram.targets)
        if self.accuracy == "float64" or (
            self.accuracy == "auto" and not self.second and numbers > SMALL
        ):
            gram = Float64Gram.of(gram)
        gram.update(batch, self._seen, names)
        self.under_way, self._seen = gram, self._seen + batch.rows

    def total(self, processes: int) -> Gram:
        """The sums of the pass, of all processes, and of all rows done; on the CPU."""
        return _joined([self.of_the_pass(processes), *([] if self.done is None else [self.done])])

    def of_the_pass(self, processes: int) -> Gram:
        """The sums of the pass, of all processes; on the CPU."""
        assert self.under_way is not None
        mine = _state(self.under_way.to("cpu"))
        states: list[Any] = [mine] * processes
        if processes > 1:
            torch.distributed.all_gather_object(states, mine)
        return _joined([_gram(state) for state in states])

    def end(self, total: Gram) -> None:
        """End the pass: the total is what has been done."""
        self.done, self.under_way, self.second = total, None, False

    def state_dict(self, cut: Cut) -> dict[str, Any]:
        """All of it for a checkpoint, as plain tensors and numbers; to be called by all processes.

        Args:
            cut: how the rows are cut.
        """
        under_way = None if self.under_way is None else self.of_the_pass(cut.processes)
        return {
            "format": FORMAT,
            "done": None if self.done is None else _state(self.done),
            "partial": None if under_way is None else _state(under_way),
            "second": self.second,
            "cut": cut._asdict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            InputError: it is from a version that wrote other states.
        """
        written = state.get("format", 0)
        if written != FORMAT:
            raise InputError(
                f"ckpt_path: the checkpoint's statistics are of format {written}, and this version "
                f"of linreg_lightning reads format {FORMAT}; fit the rows anew, or use the "
                f"{'later' if written > FORMAT else 'earlier'} version that wrote it"
            )
        self.done = None if state["done"] is None else _gram(state["done"])
        self.under_way = None if state["partial"] is None else _gram(state["partial"])
        self.second, self._cut = state["second"], Cut(**state["cut"])


def _joined(parts: list[Gram]) -> Gram:
    """The sum of all parts, as exact as the least exact of them."""
    if any(part.accuracy == "float64" for part in parts):
        parts = [Float64Gram.of(part) for part in parts]
    first = parts[0].to("cpu")
    for other in parts[1:]:
        first.merge(other)
    return first


def _state(gram: Gram) -> dict[str, Any]:
    return {"accuracy": gram.accuracy, **gram.state_dict()}


def _gram(state: Mapping[str, Any]) -> Gram:
    tensors = {name: value for name, value in state.items() if name != "accuracy"}
    return GRAMS[state["accuracy"]].from_state_dict(tensors)
