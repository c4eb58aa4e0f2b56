"""Effects of levels that are absorbed: taken out of the rows, not estimated as coefficients.

The coefficients of y = x b + a_g + b_h, with an effect for each level of one or two columns, are
those of the least squares of what the effects of levels leave of y on what they leave of x (R.
Frisch, F. V. Waugh, Partial time regressions as compared with individual trends, Econometrica 1
(1933)). It takes three passes over the rows:

    `Gram` of all rows -> `LevelSums` -> `Absorption`, whose `demean` gives rows for another `Gram`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, as_precise_as, ldexp, to_float64
from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.level_sums import LevelSums
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.algebra.two_way_effects import TwoWaySums, count_components, solve_two_ways
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import row_number

_BLOCK_ROWS = 2**14  # at a time, for which the working memory is small
# What the effects of two columns may leave of a column that they explain, relative to its standard
# deviation: the error of `solve_two_ways` where few rows connect the levels.
_LEFT_BY_TWO_WAYS = 1e-9
ENOUGH_CONVERGED = 1e-11
_ROUNDING = 2.0**-51  # of the entries of a column, relative to their root mean square
_MAX_TABLE = 2**16  # numbers, or four for each key: over these at most, keys are looked up


@dataclass(frozen=True, eq=False)
class AbsorbedEffects:
    """How many effects were absorbed, in plain numbers."""

    levels: tuple[int, ...]  # of each column of levels
    components: int  # of two columns: sets of levels that no row connects; of one column 0
    singletons: int  # rows that are alone in a level; they change no coefficient
    # Of each column of levels the columns of clusters in which each of its levels is within one.
    nested: tuple[tuple[int, ...], ...]
    steps: int  # of conjugate gradients, for two columns
    error: float  # what is left of the residuals of the equations of two columns, relative
    total: Gram  # the statistics of the rows as they were given
    names: tuple[str, ...] = ()  # of the columns of levels

    @property
    def count(self) -> int:
        """The effects in the degrees of freedom: as many as dummy variables would be independent.

        Those of two columns are their levels less one for each component.
        """
        return sum(self.levels) - self.components

    def nested_count(self, clusters: Sequence[int]) -> int:
        """Return how many of the effects fixest leaves out of the degrees of freedom.

        It counts one effect for all columns, and one less than the levels of each column of levels
        that are not within clusters of one of the columns `clusters`, whatever the components.
        """
        ways = zip(self.levels, self.nested, strict=True)
        counted = [levels - 1 for levels, nested in ways if not set(nested) & set(clusters)]
        return self.count - 1 - sum(counted)

    def phrases(self) -> list[str]:
        """Return what the report of a fit says of the effects."""
        names = self.names or tuple(f"absorb {k}" for k in range(1, 1 + len(self.levels)))
        ways = zip(names, self.levels, strict=True)
        effects = [f"{name} ({_many(number, 'level')})" for name, number in ways]
        phrases = [f"absorbed: {' and '.join(effects)}"]
        if self.components > 1:
            phrases.append(f"{self.components} sets of levels that no row connects")
        if self.steps:
            phrases.append(f"found in {_many(self.steps, 'step')}, error {self.error:.0e}")
        if self.singletons:
            phrases.append(f"{_many(self.singletons, 'row')} alone in a level")
        return phrases

    def warning(self) -> str | None:
        """Return a warning where the effects of two columns are not near the solution."""
        if self.error <= ENOUGH_CONVERGED:
            return None
        return (
            f"The absorbed effects have not converged after {self.steps} steps (error "
            f"{self.error:.0e}), because few rows connect the levels: leave one column of them out."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, without `total`."""
        return {name: v for name, v in vars(self).items() if name != "total"}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], total: Gram) -> Self:
        """Return the effects of a `state_dict`; `total` as they had it."""
        return cls(**state, total=total)


class Absorption:
    """The effects of all levels on each column of x and y, z - a_g - b_h being what they leave.

    Args:
        sums: those of all rows by their levels.

    >>> from linreg_lightning.algebra import ExactGram
    >>> rows, gram = Batch(torch.tensor([[1.0], [3.0], [5.0]]), torch.ones(3, 1)), ExactGram(1)
    >>> gram.update(rows)
    >>> sums, levels = LevelSums(gram), torch.tensor([[7], [9], [7]])
    >>> sums.update(rows, levels)
    >>> Absorption(sums).demean(rows, levels).x.flatten()
    tensor([-2.,  0.,  2.], dtype=torch.float64)
    """

    def __init__(self, sums: LevelSums) -> None:
        tables, unit = sums.tables(), sums.unit
        weights = [ldexp(levels.sums[1].double(), unit[1]) for levels in tables.ways]
        level_sums = [ldexp(levels.sums[2:].double(), unit[2:, None]) for levels in tables.ways]
        counts = [levels.sums[0] for levels in tables.ways]
        steps, error, components = 0, 0.0, 0
        if len(weights) == 1:
            mean = level_sums[0] / weights[0]
            effects = [torch.where(weights[0] > 0, mean, 0.0)]
            singletons = int((counts[0] == 1).sum())
        else:
            pair_weight = ldexp(tables.pair_weight.double(), unit[1])
            square = to_float64(sums.total.normal_equations().cross).diagonal().clamp(min=0.0)
            two_ways = TwoWaySums(
                (weights[0], weights[1]), (level_sums[0], level_sums[1]), tables.pair, pair_weight
            )
            (a, b), steps, error = solve_two_ways(two_ways, square)
            effects = [a, b]
            components = count_components(tables.pair, (len(weights[0]), len(weights[1])))
            alone = [counts[k][tables.pair[k]] == 1 for k in (0, 1)]
            singletons = int((alone[0] | alone[1]).sum())
        effects[0] = effects[0] + sums.mean[:, None]
        self._effects = [ldexp(effect, sums.exponent[:, None]).T.contiguous() for effect in effects]
        self._weights = [ldexp(weight, sums.weight_exponent) for weight in weights]
        self._keys = [_KeyPlaces(levels.key) for levels in tables.ways]
        self.effects = AbsorbedEffects(
            levels=tuple(len(weight) for weight in weights),
            components=components,
            singletons=singletons,
            nested=tuple(
                tuple((levels.lowest == levels.highest).all(1).nonzero().flatten().tolist())
                for levels in tables.ways
            ),
            steps=steps,
            error=error,
            total=sums.total,
        )

    def demean(self, batch: Batch, levels: Tensor, first_row: int = 0) -> Batch:
        """Return rows in float64 less the effects of their levels.

        Args:
            batch: x (rows, features), y (rows, targets), weight (rows,) or None.
            levels: the numbers of the levels of each row, (rows, ways) int64.
            first_row: the number of the first row, for messages only.

        Raises:
            InputError: a level has no effect, because no row of weight above 0 was in it.
        """
        x, y = (torch.empty_like(z, dtype=torch.float64) for z in (batch.x, batch.y))
        features, places = x.shape[1], self._places(batch, levels, first_row)
        for start in range(0, batch.rows, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            x[rows], y[rows] = batch.x[rows], batch.y[rows]
            for place, effects in zip(places, self._effects, strict=True):
                effect = effects.index_select(0, place[rows]).to(x.device)
                x[rows] -= effect[:, :features]
                y[rows] -= effect[:, features:]
        return Batch(x, y, batch.weight)

    def leverage(self, batch: Batch, levels: Tensor) -> Tensor:
        """Return the part of the effects in the leverage of each row, w / sum(w) of its level.

        Raises:
            InputError: there are two columns of levels, whose leverages no sums by level tell.
        """
        if len(self._weights) > 1:
            raise InputError(
                "errors: HC2 and HC3 need the leverage of each row, which is not known for two "
                "absorbed columns; type HC1 or cluster, or absorb one of them"
            )
        (place,) = self._places(batch, levels, 0)
        weight = torch.ones(batch.rows) if batch.weight is None else batch.weight
        share = weight.double().cpu() / self._weights[0][place]
        return torch.where(weight.cpu() > 0, share, 0.0).to(batch.x.device)

    def _places(self, batch: Batch, levels: Tensor, first_row: int) -> list[Tensor]:
        """Return where the effects of each row are, for each column of levels."""
        present = None if batch.weight is None else batch.weight.cpu() > 0
        places = []
        for keys, column in zip(self._keys, levels.cpu().T, strict=True):
            place, known = keys.find(column)
            unknown = ~known if present is None else ~known & present
            if bool(unknown.any()):
                row = row_number(first_row + int(unknown.nonzero()[0]))
                raise InputError(
                    f"absorb: {row} is in a level that was in no row of the first pass; "
                    "give the same rows in each pass"
                )
            places.append(place)
        return places


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


class _KeyPlaces:
    """Finds the places of keys among sorted ones."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.table = keys, None
        first, last = (int(keys[0]), int(keys[-1])) if len(keys) else (0, 0)
        if len(keys) and last - first < max(4 * len(keys), _MAX_TABLE):
            self.first, self.table = first, torch.full((last - first + 1,), -1)
            self.table[keys - first] = torch.arange(len(keys))

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return the place of each key, and whether it is one of those; else the place is any."""
        if self.table is None:
            place = torch.searchsorted(self.keys, keys.contiguous()).clamp(max=len(self.keys) - 1)
            return place, self.keys[place] == keys
        offset = keys - self.first
        inside = (offset >= 0) & (offset < len(self.table))
        if not bool(inside.all()):
            offset = offset.where(inside, 0)
        place = self.table[offset]
        known = (place >= 0) & inside
        return place.clamp_(min=0), known


def absorbed_equations(gram: Gram, absorbed: AbsorbedEffects) -> NormalEquations[Any]:
    """Return the equations of demeaned rows, where columns of effects alone are zeros.

    The rounding of the rows as they were given limits which columns are seen as independent, and
    which residuals as above 0.
    """
    equations = gram.normal_equations(intercept=False)
    given = absorbed.total.normal_equations()
    change = 2 * (given.exponent - equations.exponent)
    change = change + given.weight_exponent - equations.weight_exponent
    change = change.clamp(-2000, 2000)
    centred = ldexp(to_float64(given.cross).diagonal(), change)
    of_mean = ldexp(to_float64(given.weight) * given.mean.high.square(), change)
    within = to_float64(equations.cross).diagonal()
    rounding = _ROUNDING**2 * (centred + of_mean)
    if len(absorbed.levels) > 1:
        rounding = rounding + _LEFT_BY_TWO_WAYS**2 * centred
    constant = (within <= rounding).nonzero().flatten()
    cross = equations.cross
    if len(constant):
        cross[constant, :] = cross[constant, :] * 0.0
        cross[:, constant] = cross[:, constant] * 0.0
    features = equations.features
    share = ((centred + of_mean) / within.clamp(min=2.0**-1000))[:features].sqrt()
    return equations._replace(
        cross=cross,
        square=torch.maximum(equations.square, rounding / (4 * equations.roundoff)),
        input_roundoff=(given.input_roundoff * share).clamp(max=1.0),
        absorbed=absorbed.count,
    )


def with_total_variation(solution: Solution[Any], absorbed: AbsorbedEffects) -> Solution[Any]:
    """Return a solution whose `variation` is that of the targets before effects were absorbed."""
    given, features = absorbed.total.normal_equations(), solution.equations.features
    change = 2 * (given.exponent[features:] - solution.exponent[features:])
    change = change + given.weight_exponent - solution.equations.weight_exponent
    cross = DoubleDouble.of(given.cross)
    total = DoubleDouble(*(part.diagonal()[features:] for part in (cross.high, cross.low)))
    variation = as_precise_as(solution.residual, ldexp(total, change))
    return solution._replace(has_constant=True, variation=variation)
