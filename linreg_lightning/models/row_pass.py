"""One more pass over the rows of a fit, and the sums that it adds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, final

import torch
from torch import Tensor

from linreg_lightning.algebra import Fit
from linreg_lightning.algebra.fixed_effects import Absorption
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.level_sums import LevelSums
from linreg_lightning.algebra.robust_errors import ErrorOptions
from linreg_lightning.algebra.scores import ScoreSums
from linreg_lightning.batch import Batch

Purpose = Literal["levels", "demeaned", "scores"]


@final
class RowPass:
    """A pass whose sums each process has of its own rows, until the end of the pass merges them.

    Args:
        purpose: `levels` to absorb, rows `demeaned` by their levels, or `scores` of robust errors.
        make: returns sums without rows or, given a `state_dict`, those of a state.
        add: adds rows to the sums: their batch, their keys (rows, keys), the number of the first.
        state: the sums to go on with, of all processes; None: no rows.
    """

    def __init__(
        self,
        purpose: Purpose,
        make: Callable[[Any], Any],
        add: Callable[[Any, Batch, Tensor | None, int], None],
        state: dict[str, Any] | None = None,
    ) -> None:
        self.purpose, self._make, self._add = purpose, make, add
        self._sums = make(state)
        self.rows_seen = 0  # by this process, since the pass began or was resumed

    def add(self, batch: Batch, keys: Tensor | None) -> None:
        """Add a batch."""
        self._add(self._sums, batch, keys, self.rows_seen)
        self.rows_seen += batch.rows

    def state_dict(self, processes: int) -> dict[str, Any]:
        """Return the sums of all processes; all must call this together."""
        state: dict[str, Any] = self.total(processes).state_dict()
        return state

    def total(self, processes: int) -> Any:
        """Return the sums of all processes, which must call this together."""
        if processes == 1:
            return self._sums
        states: list[Any] = [None] * processes
        torch.distributed.all_gather_object(states, self._sums.state_dict())
        total, *others = map(self._make, states)
        for other in others:
            total.merge(other)
        return total


def level_pass(total: Gram, ways: int, clusters: int) -> RowPass:
    """Return a pass for the sums of the levels of `ways` columns, which follow the clusters."""

    def make(state: Any) -> LevelSums:
        if state is None:
            return LevelSums(total, ways, clusters)
        return LevelSums.from_state_dict(state, total)

    def add(sums: LevelSums, batch: Batch, keys: Tensor | None, first_row: int) -> None:
        assert keys is not None
        sums.update(batch, keys[:, clusters:], keys[:, :clusters])

    return RowPass("levels", make, add)


def demeaned_pass(
    absorption: Absorption, clusters: int, accuracy: str, sizes: tuple[int, int], names: list[str]
) -> RowPass:
    """Return a pass for the Gram matrix of the rows less the effects of their levels.

    `sizes` are the numbers of features and targets, and `names` the columns of both.
    """
    kind = ExactGram if accuracy == "exact" else Float64Gram

    def make(state: Any) -> Gram:
        return kind(*sizes) if state is None else kind.from_state_dict(state)

    def add(sums: Gram, batch: Batch, keys: Tensor | None, first_row: int) -> None:
        assert keys is not None
        rows = absorption.demean(batch, keys[:, clusters:], first_row)
        sums.update(rows.map(Tensor.cpu), first_row, names)

    return RowPass("demeaned", make, add)


def score_pass(
    fit: Fit,
    options: ErrorOptions,
    clusters: int,
    absorption: Absorption | None,
    state: dict[str, Any] | None = None,
) -> RowPass:
    """Return a pass for the scores of a fit; `state` as in `RowPass`."""
    nested = 0
    if absorption is not None and clusters:
        nested = absorption.effects.nested_count([*range(clusters)])
    arguments: Any = {"keys": clusters, "exact": fit.accuracy == "exact", "nested": nested}

    def make(state: Any) -> ScoreSums:
        if state is None:
            return ScoreSums(fit.solution, options, **arguments)
        return ScoreSums.from_state_dict(state, fit.solution, options, **arguments)

    def add(sums: ScoreSums, batch: Batch, keys: Tensor | None, first_row: int) -> None:
        leverage = None
        if absorption is not None:
            assert keys is not None
            levels = keys[:, clusters:]
            if options.needs_leverage:
                leverage = absorption.leverage(batch, levels)
            batch = absorption.demean(batch, levels, first_row)
        of_clusters = keys[:, :clusters] if clusters and keys is not None else None
        sums.update(batch, of_clusters, first_row, leverage)

    return RowPass("scores", make, add, state)
