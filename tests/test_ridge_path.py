"""Ridge paths and criteria agree with rational arithmetic, scikit-learn and the rows themselves."""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import ElasticNet, Lasso, LassoLarsIC, Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from linreg_lightning import least_squares
from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.algebra.penalty_scale import (
    StandardizedEquations,
    alpha_grid,
    largest_alpha,
    standardize_equations,
)
from linreg_lightning.algebra.ridge_path import RidgePath, ridge_path
from linreg_lightning.algebra.selection_criteria import (
    noise_variance,
    selection_criteria,
    sparse_degrees_of_freedom,
)
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

F64 = torch.float64
KINDS = [ExactGram, Float64Gram]
ALPHAS = torch.tensor([1e3, 1.0, 1e-3, 1e-7, 1e-11, 1e-16], dtype=F64)


def equations_of(
    x, y, weight=None, intercept=True, kind: type[Gram] = ExactGram, **options
) -> StandardizedEquations:
    gram = kind(x.shape[1], y.shape[1])
    gram.update(Batch(x, y, weight))
    return standardize_equations(gram.normal_equations(intercept), **options)


class Rational(NamedTuple):
    coefficients: list[Fraction]  # the intercept first, if there is one
    freedom: Fraction
    residual: Fraction


def solve_rational(matrix: list[list[Fraction]], right: list[list[Fraction]]) -> list[list]:
    """Return matrix^-1 right by Gaussian elimination."""
    rows = [[*a, *b] for a, b in zip(matrix, right, strict=True)]
    count = len(matrix)
    for k in range(count):
        pivot = next(i for i in range(k, count) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for i in range(count):
            if i != k and rows[i][k]:
                share = rows[i][k]
                rows[i] = [a - share * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[count:] for row in rows]


def rational_ridge(
    x, y, alpha: float, weight=None, intercept=True, standardize=True, unpenalized=()
) -> Rational:
    """Minimise the objective in rational numbers; no column may be constant."""
    w = [Fraction(v) for v in ([1.0] * len(x) if weight is None else weight.tolist())]
    z = [[Fraction(1)] * intercept + [Fraction(v) for v in row] for row in x.tolist()]
    t = [Fraction(v) for v in y.flatten().tolist()]
    total, count = sum(w), len(z[0])

    def dot(i, j):
        return sum(u * row[i] * row[j] for u, row in zip(w, z, strict=True))

    gram = [[dot(i, j) for j in range(count)] for i in range(count)]
    right = [sum(u * row[i] * v for u, row, v in zip(w, z, t, strict=True)) for i in range(count)]
    penalised = [row[:] for row in gram]
    for j in range(intercept, count):
        if j - intercept not in unpenalized:
            square = gram[j][j] - (gram[0][j] ** 2 / total if intercept else 0)
            penalised[j][j] += Fraction(alpha) * (square if standardize else total)
    solved = solve_rational(penalised, [[a, *b] for a, b in zip(right, gram, strict=True)])
    b = [row[0] for row in solved]
    errors = [v - sum(a * c for a, c in zip(row, b, strict=True)) for row, v in zip(z, t, strict=True)]
    residual = sum(u * e * e for u, e in zip(w, errors, strict=True)) / total
    return Rational(b, sum(solved[i][1 + i] for i in range(count)), residual)


def error(value: float, truth: Fraction) -> float:
    return float(abs(Fraction(value) - truth) / abs(truth)) if truth else abs(value)


def largest_error(x, y, path: RidgePath, place: int, truth: Rational, intercept=True) -> float:
    found = path.intercept[place].tolist() * intercept + path.coefficients[place, :, 0].tolist()
    errors = [error(a, b) for a, b in zip(found, truth.coefficients, strict=True)]
    freedom = error(float(path.degrees_of_freedom[place, 0]), truth.freedom)
    return max(*errors, freedom, error(float(path.residual[place, 0]), truth.residual))


def draw(rows: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, dtype=F64, generator=generator)
    y = x.sum(1, keepdim=True) + torch.randn(rows, 1, dtype=F64, generator=generator)
    return x, y, torch.rand(rows, dtype=F64, generator=generator) + 0.25


def hard_rows(name: str) -> tuple[Tensor, Tensor]:
    x, y, _ = draw(6 if name == "wide" else 12, 9 if name == "wide" else 4)
    if name == "scales":
        x = x * torch.tensor([1e-8, 1.0, 1e8, 1e4])
    elif name == "offsets":
        x, y = x + 1e9, y - 3e9
    elif name == "duplicates":
        x[:, 2] = x[:, 0]
        x[:, 3] = x[:, 1] - x[:, 0]
    elif name == "near duplicates":
        x[:, 2] = x[:, 0] + 1e-9 * x[:, 2]
    elif name == "perfect":
        y = x.sum(1, keepdim=True) + 1e-6 * y
    return x, y


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    "name", ["scales", "offsets", "duplicates", "near duplicates", "perfect", "wide"]
)
def test_hard_rows_have_the_coefficients_of_rationals(name: str, standardize: bool) -> None:
    x, y = hard_rows(name)
    path = ridge_path(equations_of(x, y, standardize=standardize), ALPHAS)
    for place, alpha in enumerate(ALPHAS.tolist()):
        truth = rational_ridge(x, y, alpha, standardize=standardize)
        print(name, standardize, alpha, largest_error(x, y, path, place, truth))
