"""One least-squares fit for each group of rows, all at once: `grouped_least_squares(x, y, by)`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.batched_fit import fit_groups, group_moments, padded_size
from linreg_lightning.algebra.fit import Fit
from linreg_lightning.algebra.fit_table import GroupedFitTable
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.inference import check_confidence
from linreg_lightning.algebra.least_squares import EXACT_LIMIT
from linreg_lightning.batch import Batch, column_bits, significant_bits
from linreg_lightning.errors import InputError
from linreg_lightning.matching import align_index
from linreg_lightning.validation import check_finite, check_weight, group_values, to_tensor

_CHUNK_NUMBERS = 2**18  # of rows at a time, which stay in the cache of a processor
_BLOCK_NUMBERS = 2**20  # of cross-products at a time
_ENOUGH_DIGITS = 8
_ROUNDED_ONE = 2.0**-36  # how far from 1 rounding errors may bring a sum of columns that is 1
_TABLES = ("estimate", "standard_error", "t", "p", "low", "high")


@dataclass(frozen=True, eq=False, repr=False)
class GroupedFit(GroupedFitTable):
    """A linear model y = b_0 + x b for each group of rows, all on the CPU, numbers in float64.

    Terms are the intercept, if there is one, and then the columns of x. Each number means what it
    means in `Fit`, of the rows of its group: NaN for a column that is a linear combination of
    earlier ones, and standard errors of NaN where no degree of freedom is left. If y was (rows,),
    the shapes lack the dimension of the targets.
    """

    groups: list[Any]  # the values of `by`, sorted
    rows: Tensor  # of weight above 0, (groups,) int64
    rank: Tensor  # how many terms were fitted, (groups,) int64
    estimate: Tensor  # (groups, terms, targets), like the next five
    standard_error: Tensor
    t: Tensor
    p: Tensor
    low: Tensor  # ends of the confidence interval
    high: Tensor
    r2: Tensor  # (groups, targets); uncentered where `r2_uncentered` says so
    digits: Tensor  # the smaller one of `Fit.digits` and `Fit.error_digits`, (groups,)
    has_intercept: bool = True
    confidence: float = 0.95  # how often the intervals cover the truth
    # Where the model has no constant, (groups,); None in checkpoints of earlier versions.
    r2_uncentered: Tensor | None = None

    @classmethod
    def from_rows(
        cls,
        rows: Batch,
        group: Tensor,
        names: list[Any] | None = None,
        *,
        intercept: bool = True,
        confidence: float = 0.95,
        bits: list[int] | None = None,
    ) -> GroupedFit:
        """Fit rows on the CPU; `group` has the number of each row's group, (rows,).

        The numbers index `names`, or are the names themselves. Other arguments and errors are those
        of `grouped_least_squares`; `bits` is as in `Gram.update`.
        """
        own_bits = significant_bits(rows.x.dtype)
        precision = [min(own_bits, given) for given in bits or [own_bits] * rows.x.shape[1]]
        sorted_rows, groups = _sort_rows(rows, group)
        named = groups.tolist() if names is None else [names[k] for k in groups.tolist()]
        return _fit_groups(sorted_rows, named, precision, intercept, confidence)

    def notes(self) -> list[str]:
        """Return what a user should know: in which groups columns are missing, or digits."""
        terms = self.estimate.shape[1]
        notes = {
            "a column is left out, as a linear combination of earlier ones": self.rank < terms,
            "fewer than 8 digits of the coefficients or standard errors are safe": (
                self.digits < _ENOUGH_DIGITS
            ),
        }
        messages = []
        for text, affected in notes.items():
            if count := int(affected.sum()):
                first = self.groups[int(affected.nonzero()[0, 0])]
                messages.append(f"In {count} of {len(self.groups)} groups {text}; first: {first}")
        return messages


class _SortedRows(NamedTuple):
    """Rows, and where those of each group are: at `order[start : start + counts]`."""

    batch: Batch
    order: Tensor | None  # None: the rows of each group are together
    start: Tensor  # (groups,)
    counts: Tensor  # (groups,)

    def select(self, groups: Tensor, size: int) -> Batch:
        """Return `size` rows for each group; where it has fewer, any row stands for the others."""
        places = (self.start[groups, None] + torch.arange(size)).flatten()
        places = places.clamp(max=self.batch.rows - 1)
        index = (places if self.order is None else self.order[places]).numpy()
        # NumPy's take needs half the time of torch's index_select.
        return self.batch.map(lambda values: torch.from_numpy(values.numpy().take(index, 0)))


def grouped_least_squares(
    x: Any,
    y: Any,
    by: Any,
    weight: Any = None,
    *,
    intercept: bool = True,
    confidence: float = 0.95,
) -> GroupedFit:
    """Minimise sum(w (y - b_0 - x b)^2) in each group of rows.

    The same as `least_squares` of the rows of one group after the other, in a small part of the
    time: the sums of all groups are taken and solved together, in float64. A group is fitted by
    itself, with exact sums, where float64 guarantees fewer than eight digits: nearly perfect fits,
    columns that are (nearly) a linear combination of others and have more than one value. Such a
    group takes several milliseconds, and so does one of more than a million numbers.

    Args:
        x: (rows, features); a tensor or anything that `torch.as_tensor` takes.
        y: (rows, targets), each target fitted by itself, or (rows,).
        by: (rows,), the group of each row: numbers or text, in any order. In pandas objects,
            also y and `weight`, rows are matched by their index.
        weight: as in `least_squares`; a group whose rows all have weight 0 is left out.
        intercept: whether to fit the constant b_0.
        confidence: how often the intervals cover the truth, between 0.000001 and 1.

    Returns:
        The fits. A warning says in how many groups columns are left out, or digits missing.

    Raises:
        InputError: shapes do not fit; a group is missing; a value is no number, NaN or infinite in
            a row with a weight above 0; a weight is negative; no row is left; the confidence is
            outside its range.

    >>> x, y = [[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]], [1.0, 3.0, 4.0, 5.0, 4.0, 4.0]
    >>> fits = grouped_least_squares(x, y, by=["a", "a", "a", "b", "b", "b"])
    >>> fits.groups, fits.estimate
    (['a', 'b'], tensor([[ 1.1667,  1.5000],
            [ 4.8333, -0.5000]], dtype=torch.float64))
    """
    check_confidence(confidence)
    bits = column_bits(x)
    y, weight = align_index(x, y, weight)
    labelled = x, y, weight
    x, y = to_tensor("x", x).cpu(), to_tensor("y", y).cpu()
    weight = None if weight is None else to_tensor("weight", weight).cpu()
    batch = Batch(x, y.unsqueeze(1) if y.ndim == 1 else y, weight).validate()
    group, names = group_values("by", by, batch.rows, *labelled)
    result = GroupedFit.from_rows(
        batch, group, names, intercept=intercept, confidence=confidence, bits=bits
    )
    if y.ndim == 1:
        flat = {name: getattr(result, name)[..., 0] for name in (*_TABLES, "r2")}
        result = replace(result, **flat)
    for message in result.notes():
        warnings.warn(message, stacklevel=2)
    return result


def _sort_rows(rows: Batch, group: Tensor) -> tuple[_SortedRows, Tensor]:
    """Return the rows of weight above 0, and the groups, sorted; refuse what no fit can use."""
    check_finite(rows, [])
    if rows.weight is not None:
        check_weight(rows.weight)
        present = (rows.weight > 0).nonzero().flatten()
        if len(present) < rows.rows:
            rows, group = rows.select(present), group[present]
    if not rows.rows or not rows.y.shape[1]:
        raise InputError("rows: none with a weight above 0 and a target was given; give some")
    order = None
    if bool((group[1:] < group[:-1]).any()):
        group, order = group.sort(stable=True)
    groups, counts = torch.unique_consecutive(group, return_counts=True)
    rows = rows.map(lambda values: values.double().contiguous())
    return _SortedRows(rows, order, counts.cumsum(0) - counts, counts), groups


def _fit_groups(
    rows: _SortedRows, names: list[Any], precision: list[int], intercept: bool, confidence: float
) -> GroupedFit:
    batch, groups = rows.batch, len(names)
    features, targets = batch.x.shape[1], batch.y.shape[1]
    shape = (groups, features + intercept, targets)
    tables = torch.full((6, *shape), torch.nan, dtype=torch.float64)
    r2, digits = tables.new_full((groups, targets), torch.nan), tables.new_zeros(groups)
    rank = torch.zeros_like(rows.counts)
    named: dict[str, Any] = dict(zip(_TABLES, tables, strict=True))
    named |= {"r2": r2, "digits": digits, "has_intercept": intercept, "confidence": confidence}
    uncentered = torch.full((groups,), not intercept)
    result = GroupedFit(names, rows.counts, rank, r2_uncentered=uncentered, **named)
    columns = 1 + features + targets
    small_first = rows.counts.argsort(stable=True)
    together = small_first[rows.counts[small_first] * columns <= EXACT_LIMIT]
    for block in together.split(max(1, _BLOCK_NUMBERS // columns**2)):
        parts = [
            group_moments(
                rows.select(chunk, padded_size(int(rows.counts[chunk[-1]]))),
                rows.counts[chunk],
                intercept,
            )
            for chunk in _chunks(block, rows.counts[block] * columns)
        ]
        fits = fit_groups(parts, rows.counts[block], precision, intercept, confidence)
        has_constant = _holds_one(rows, block, fits.pop("one"))
        centered_r2 = fits.pop("centered_r2")
        for name, values in fits.items():
            getattr(result, name)[block] = values
        uncentered[block[has_constant]] = False
        r2[block[has_constant]] = centered_r2[has_constant]
    for group in (result.digits < _ENOUGH_DIGITS).nonzero().flatten():
        own = rows.select(group[None], int(rows.counts[group]))
        fit = _fit_alone(own, precision, intercept, confidence)
        for name in _TABLES:
            getattr(result, name)[group] = getattr(fit, name)
        result.r2[group] = torch.tensor(fit.statistics["r2"], dtype=torch.float64)
        uncentered[group] = not fit.solution.has_constant
        result.rank[group], result.digits[group] = fit.rank, min(fit.digits, fit.error_digits)
    return result


def _holds_one(rows: _SortedRows, groups: Tensor, one: Tensor) -> Tensor:
    """Return whether x @ one is 1 in all rows, for each of the groups; `one` may be NaN."""
    result = torch.zeros(len(groups), dtype=torch.bool)
    close = one.isfinite().all(1).nonzero().flatten()
    for chunk in _chunks(close, rows.counts[groups[close]] * (1 + one.shape[1])):
        counts = rows.counts[groups[chunk]]
        size = int(counts.max())
        x = rows.select(groups[chunk], size).x.view(len(chunk), size, -1)
        error = ((x @ one[chunk, :, None])[..., 0] - 1).abs()
        is_padding = torch.arange(size) >= counts[:, None]
        result[chunk] = error.masked_fill(is_padding, 0.0).amax(1) < _ROUNDED_ONE
    return result


def _chunks(groups: Tensor, numbers: Tensor) -> Iterator[Tensor]:
    """Yield consecutive groups of similar size, with about two million bytes of rows together.

    Groups are in the order of size; `numbers` says how many numbers each has.
    """
    size = numbers.log2().floor().long()
    sizes = torch.unique_consecutive(
        64 * (numbers.cumsum(0) // _CHUNK_NUMBERS) + size, return_counts=True
    )[1]
    yield from groups.split(sizes.tolist())


def _fit_alone(batch: Batch, precision: list[int], intercept: bool, confidence: float) -> Fit:
    numbers = batch.rows * (batch.x.shape[1] + batch.y.shape[1])
    kinds: list[type[Gram]] = [ExactGram] if numbers <= EXACT_LIMIT else [Float64Gram, ExactGram]
    for kind in kinds:
        gram = kind(batch.x.shape[1], batch.y.shape[1])
        gram.update(batch, bits=precision)
        fit = Fit.from_gram(gram, intercept=intercept, confidence=confidence)
        if fit.precise:
            break
    return fit
