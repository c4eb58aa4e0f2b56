"""`ScoreSums`: the sums of the second pass, and the robust covariance that they give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.cluster_sums import ClusterSums, pair_keys
from linreg_lightning.algebra.double_double import DoubleDouble, exponent_of, ldexp, to_float64
from linreg_lightning.algebra.meat import Meat
from linreg_lightning.algebra.robust_errors import (
    ErrorOptions,
    RobustErrors,
    check_solution,
    degrees_of_freedom,
    one_cluster,
    small_sample_factor,
)
from linreg_lightning.algebra.row_scores import FULL_LEVERAGE, RowWhitener, check_squares
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import row_number

# A column u of whitened rows has sum(w u^2) = 1 (see `row_scores`). By the inequality of Cauchy and
# Schwarz, no sum of scores w r u over some of the rows is then above sqrt(SSR), so that sums in
# units of 2^-_UNIT_BITS of that stay within int64.
_UNIT_BITS = 60
_NO_ROW = 2**62


class ScoreSums:
    """Mergeable sums of the scores of the rows of a fit, as `options` needs them.

    Memory of clusters: 8 (1 + k targets) bytes for each, k coefficients with the intercept, and for
    two columns of clusters also for each pair that occurs; up to three times that while rows are
    added.

    Args:
        solution: that of the fit; the same rows must follow.
        options: which errors, not classical ones.
        keys: how many columns of clusters there are, 1 or 2 for `cluster`, else 0.
        exact: whether the sums are exact, so that batches and their order change no bit.
        nested: how many of the absorbed effects are nested in the clusters.

    Raises:
        InputError: errors that the fit does not have.

    >>> from linreg_lightning.algebra import ExactGram, solve
    >>> rows, gram = Batch(torch.tensor([[1.0], [2.0], [4.0]]), torch.eye(3)[:, :1]), ExactGram(1)
    >>> gram.update(rows)
    >>> sums = ScoreSums(solve(gram.normal_equations()), ErrorOptions("HC0"))
    >>> sums.update(rows)
    >>> sums.errors().df
    inf
    """

    def __init__(
        self,
        solution: Solution[Any],
        options: ErrorOptions,
        *,
        keys: int = 0,
        exact: bool = True,
        nested: int = 0,
    ) -> None:
        check_solution(solution, options, keys)
        self.solution, self.options, self.keys, self.exact = solution, options, keys, exact
        self.nested = nested
        equations = solution.equations
        self.targets = len(solution.scaled_intercept)
        self._terms = len(solution.kept) + equations.intercept
        self._whitener = RowWhitener(solution, exact)
        self._constant = math.sqrt(self._whitener.intercept)
        self._counts = torch.tensor([0, 0, _NO_ROW])  # rows, those of leverage 1, the first of them
        self._squares = torch.zeros(self.targets, dtype=torch.float64)  # sums of w r^2
        columns = self._terms * self.targets
        self._meats = [Meat.of(self._terms, exact) for _ in range(self.targets)]
        self._clusters = [ClusterSums(columns) for _ in range(2 * keys - 1 if keys else 0)]
        unit = exponent_of(to_float64(solution.residual).sqrt()) - _UNIT_BITS
        self._unit = unit.repeat_interleave(self._terms)
        # The scores of the last rows, to which the moving sums of the next ones reach back.
        self._tail = torch.zeros(options.lags or 0, columns, dtype=torch.int64)

    def update(
        self,
        batch: Batch,
        keys: Tensor | None = None,
        first_row: int = 0,
        leverage: Tensor | None = None,
    ) -> None:
        """Add rows.

        Args:
            batch: some rows of the fit; for HAC in their order.
            keys: of `cluster`, a number for the cluster of each row in each column of clusters,
                (rows, keys) int64.
            first_row: the number of its first row, from 0, for messages.
            leverage: that of absorbed effects, which is added, (rows,).
        """
        rows = batch.rows
        present = torch.arange(rows)
        if batch.weight is not None and not bool((batch.weight > 0).all()):
            present = (batch.weight > 0).nonzero().flatten().cpu()
            batch = batch.select(present.to(batch.x.device))
            leverage = None if leverage is None else leverage[present.to(leverage.device)]
        self._counts[0] += batch.rows
        start, kept_scores = 0, []
        for part in self._whitener.blocks(batch, self.options.needs_leverage):
            scores, stop = part.residual, start + len(part.residual)
            self._squares = self._squares + part.squares
            if part.leverage is not None:
                h = part.leverage if leverage is None else part.leverage + leverage[start:stop]
                scores = scores * self._factor(h, first_row + present[start:stop])[:, None]
            if self.options.kind.startswith("HC"):
                self._add_to_meat(part.whitened, scores)
            else:
                kept_scores.append(self._whole_numbers(part.whitened, scores))
            start = stop
        if not kept_scores:
            return
        values = torch.cat(kept_scores)
        if self.keys and keys is not None:
            keys = keys.cpu()[present]
            columns = list(keys.T)
            columns += [pair_keys(columns)] if self.keys == 2 else []
            for sums, key in zip(self._clusters, columns, strict=True):
                sums.add(key.contiguous(), values)
        else:
            # A row of weight 0 keeps its place in time.
            in_time = values.new_zeros(rows, values.shape[1])
            in_time[present] = values
            self._add_moving_sums(in_time)

    def merge(self, other: Self) -> None:
        """Add the rows of other sums of the same fit, in any order; refused for HAC."""
        if self.options.kind == "HAC":
            text = "rows of several processes were given; their order is that of one process only"
            raise InputError(f"errors: HAC and {text}; type --trainer.devices 1")
        first = torch.minimum(self._counts[2], other._counts[2])
        self._counts = self._counts + other._counts
        self._counts[2] = first
        self._squares = self._squares + other._squares
        for meat, added_meat in zip(self._meats, other._meats, strict=True):
            meat.merge(added_meat)
        for clusters, added in zip(self._clusters, other._clusters, strict=True):
            clusters.merge(added)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums as plain tensors."""
        state = {"counts": self._counts, "tail": self._tail, "squares": self._squares}
        for name, sums in self._parts():
            state |= {f"{name}.{field}": v for field, v in sums.state_dict().items()}
        return state

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        solution: Solution[Any],
        options: ErrorOptions,
        **arguments: Any,
    ) -> Self:
        """Return the sums of a `state_dict`; the other arguments as they had them."""
        sums = cls(solution, options, **arguments)
        sums._counts, sums._tail = state["counts"], state["tail"]
        sums._squares = state["squares"]
        for name, part in sums._parts():
            prefix = f"{name}."
            own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            part.load_state_dict(own)
        return sums

    def errors(self) -> RobustErrors:
        """Return the covariances.

        Raises:
            InputError: the rows are not those of the fit; HC2 or HC3 and a row of leverage 1; a
                column has one cluster only.
        """
        self._check_counts()
        solution, kind = self.solution, self.options.kind
        clusters = tuple(len(sums.totals()) for sums in self._clusters[: self.keys])
        if 1 in clusters:
            raise one_cluster(clusters)
        if kind == "cluster":
            meat = self._cluster_meat()
        elif kind == "HAC":
            meat = self._moving_meat()
        else:
            meat = torch.stack([meat.matrix() for meat in self._meats])
            meat = meat * small_sample_factor(solution, self.options)
        df, df_f = degrees_of_freedom(solution, self.options, clusters)
        transform = self._transform()
        covariance = transform @ meat @ transform.T
        return RobustErrors(self.options, covariance, df, df_f, clusters)

    def _parts(self) -> Iterator[tuple[str, Meat | ClusterSums]]:
        yield from ((f"meat_{k}", meat) for k, meat in enumerate(self._meats))
        yield from ((f"clusters_{k}", sums) for k, sums in enumerate(self._clusters))

    def _factor(self, leverage: Tensor, numbers: Tensor) -> Tensor:
        """Return 1 / (1 - h), or its root for HC2; 0 for rows of leverage 1, which it counts."""
        factor = (1 - leverage).reciprocal_()
        if self.options.kind == "HC2":
            factor.sqrt_()
        if bool(leverage.max() > FULL_LEVERAGE):
            full = leverage > FULL_LEVERAGE
            self._counts[1] += int(full.sum())
            self._counts[2] = min(int(self._counts[2]), int(numbers[full.cpu()].min()))
            factor[full] = 0
        return factor

    def _add_to_meat(self, whitened: Tensor, scores: Tensor) -> None:
        for t, meat in enumerate(self._meats):
            meat.add(whitened, scores[:, t], self._constant)

    def _whole_numbers(self, whitened: Tensor, scores: Tensor) -> Tensor:
        """Return the scores in units of `_unit`, (rows, targets * terms) int64."""
        whitened = whitened[:, : len(self.solution.kept)]
        columns = [scores[:, :, None] * whitened[:, None]]
        if self.solution.equations.intercept:
            columns.insert(0, (scores * self._constant)[:, :, None])
        values = torch.cat(columns, 2).flatten(1).cpu()
        return ldexp(values, -self._unit).round().long()

    def _add_moving_sums(self, values: Tensor) -> None:
        """Add the products of the sums of each row and the `lags` rows before it.

        With L lags, the sum over all rows of products of these sums is L + 1 times Newey and
        West's: a pair of rows l apart is in L + 1 - l of them.
        """
        lags = len(self._tail)
        for part in values.split(max(1, 2**18 // (1 + values.shape[1]))):
            rows = torch.cat((self._tail, part))
            self._tail = rows[len(rows) - lags :]
            cumulated = torch.nn.functional.pad(rows.cumsum(0), (0, 0, 1, 0))
            moving = self._to_float64(cumulated[lags + 1 :] - cumulated[: len(part)])
            for meat, sums in zip(self._meats, moving.split(self._terms, 1), strict=True):
                meat.add_rows(sums)

    def _to_float64(self, whole_numbers: Tensor) -> Tensor:
        return ldexp(whole_numbers.double(), self._unit)

    def _moving_meat(self) -> Tensor:
        """Return the covariances of HAC; the last rows' sums reach beyond the end."""
        finished = ScoreSums.from_state_dict(
            self.state_dict(), self.solution, self.options, exact=self.exact
        )
        finished._add_moving_sums(torch.zeros_like(self._tail))
        meat = torch.stack([meat.matrix() for meat in finished._meats])
        factor = small_sample_factor(self.solution, self.options)
        return meat * (factor / (len(self._tail) + 1))

    def _cluster_meat(self) -> Tensor:
        counts = [len(sums.totals()) for sums in self._clusters]
        total = torch.zeros(self.targets, self._terms, self._terms, dtype=torch.float64)
        for place, sums in enumerate(self._clusters):
            factor = small_sample_factor(
                self.solution, self.options, counts, place, nested=self.nested
            )
            totals = self._to_float64(sums.totals()).split(self._terms, 1)
            meat = torch.stack([Meat.of_rows(part, self.exact) for part in totals])
            total = total + (factor if place < self.keys else -factor) * meat
        return total

    def _transform(self) -> Tensor:
        """Return T: the coefficients, the intercept first, are T times the whitened ones."""
        solution, kept = self.solution, self.solution.kept
        inverse_factor = DoubleDouble.of(solution.inverse_factor)
        equations = solution.equations
        if not equations.intercept:
            return inverse_factor.high
        unit = equations.exponent[kept] - solution.exponent[kept]
        mean = ldexp(equations.mean[kept], unit)
        beside = (-mean[:, None] * inverse_factor).sum(0).high
        first = torch.cat((beside.new_full((1,), self._constant), beside))
        rest = torch.nn.functional.pad(inverse_factor.high, (1, 0))
        return torch.cat((first[None], rest))

    def _check_counts(self) -> None:
        given, full, first = self._counts.tolist()
        if given != self.solution.equations.rows:
            text = f"{given} rows of weight above 0 were given after a fit of"
            raise InputError(f"rows: {text} {self.solution.equations.rows}; give the same rows")
        check_squares(self.solution, self._squares)
        if full:
            rows, whose = f"{row_number(first)} alone determines", "its"
            if full > 1:
                rows = f"{row_number(first)} and {full - 1} more rows each determine alone"
                whose = "their"
            raise InputError(
                f"errors: {self.options.kind} was given, but {rows} a coefficient, so that {whose} "
                "residual is 0; type HC1, or leave errors out"
            )
