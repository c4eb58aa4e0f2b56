"""The sum of the products of scores, in float64 or without rounding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.batch import Batch

_PRODUCT_ROWS = 128


class Meat(ABC):
    """The mergeable sum of s s' over rows of scores s, (terms,).

    >>> Meat.of_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), exact=True)
    tensor([[10., 14.],
            [14., 20.]], dtype=torch.float64)
    """

    @staticmethod
    def of(terms: int, exact: bool) -> Meat:
        """Return the sum of no rows."""
        return _ExactMeat(terms) if exact else _Float64Meat(terms)

    @staticmethod
    def of_rows(rows: Tensor, exact: bool) -> Tensor:
        """Return the sum of the rows, (rows, terms), as a matrix."""
        meat = Meat.of(rows.shape[1], exact)
        meat.add_rows(rows)
        return meat.matrix()

    @abstractmethod
    def add(self, whitened: Tensor, score: Tensor, constant: float) -> None:
        """Add scores times whitened rows, (rows,) and (rows, columns), whose first columns count.

        A `constant` above 0 is the column of the intercept, the first term.
        """

    @abstractmethod
    def add_rows(self, rows: Tensor) -> None:
        """Add rows, (rows, terms) float64."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add the rows of another sum of the same kind."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """Return the sum, (terms, terms) float64."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return the sum as plain tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the sum of a `state_dict`."""


class _Float64Meat(Meat):
    def __init__(self, terms: int) -> None:
        self._sums = torch.zeros(terms, terms, dtype=torch.float64)
        self._place = torch.empty(0, 0, dtype=torch.float64)  # of the products of each block

    def add(self, whitened: Tensor, score: Tensor, constant: float) -> None:
        shape = self._place.shape
        if len(whitened) > shape[0] or whitened.shape[1] != shape[1]:
            self._place = torch.empty_like(whitened)
        self._place = self._place.to(whitened.device)
        product = torch.mul(whitened, score[:, None], out=self._place[: len(whitened)])
        k = len(self._sums) - (constant > 0)
        sums = _square(product)[:k, :k]
        if constant > 0:
            beside = (constant * (score @ product)[:k]).cpu()
            self._sums[0, 0] += (constant**2 * score.dot(score)).cpu()
            self._sums[0, 1:] += beside
            self._sums[1:, 0] += beside
        own = int(constant > 0)
        self._sums[own:, own:] += sums.cpu()

    def add_rows(self, rows: Tensor) -> None:
        self._sums = self._sums + rows.T @ rows

    def merge(self, other: _Float64Meat) -> None:
        self._sums = self._sums + other._sums

    def matrix(self) -> Tensor:
        return self._sums

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self._sums.clone()}  # which `add` changes in place

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._sums = state["sums"].clone()


def _square(rows: Tensor) -> Tensor:
    """Return rows' rows, as a sum over blocks of rows: one product takes several times as long."""
    full = len(rows) // _PRODUCT_ROWS * _PRODUCT_ROWS
    blocks = rows[:full].view(-1, _PRODUCT_ROWS, rows.shape[1])
    sums: Tensor = torch.bmm(blocks.mT, blocks).sum(0)
    return sums if full == len(rows) else sums + rows[full:].T @ rows[full:]


class _ExactMeat(Meat):
    def __init__(self, terms: int) -> None:
        self._terms = terms
        self._gram = ExactGram(terms - 1)  # the last column is its target

    def add(self, whitened: Tensor, score: Tensor, constant: float) -> None:
        product = whitened * score[:, None]
        product = product[:, : self._terms - (constant > 0)]
        if constant > 0:
            product = torch.cat(((score * constant)[:, None], product), 1)
        self.add_rows(product)

    def add_rows(self, rows: Tensor) -> None:
        if len(rows):
            rows = rows.cpu()
            self._gram.update(Batch(rows[:, :-1], rows[:, -1:]))

    def merge(self, other: _ExactMeat) -> None:
        self._gram.merge(other._gram)

    def matrix(self) -> Tensor:
        if not self._gram.rows:
            return torch.zeros(self._terms, self._terms, dtype=torch.float64)
        equations = self._gram.normal_equations(intercept=False)
        unit = equations.exponent[:, None] + equations.exponent + equations.weight_exponent
        return ldexp(to_float64(equations.cross), unit)

    def state_dict(self) -> dict[str, Tensor]:
        return self._gram.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._gram = ExactGram.from_state_dict(dict(state))
