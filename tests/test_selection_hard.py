"""Selections from rows that are hard in float64, against a convex solver in 200 bits."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from linreg_lightning.algebra.select_penalty import select_penalty
from linreg_lightning.algebra.selection_result import Selection

F64 = torch.float64
BITS = 200
FOLDS = 4
Numbers = list[Any]  # of mpmath


@dataclass
class Problem:
    """g'A g/2 - g'h + m/2 of some rows in g_j = s_j b_j, in 200 bits."""

    x: list[Numbers]
    y: Numbers
    weight: Numbers
    intercept: bool
    standardize: bool
    mean: Numbers = field(init=False)
    scale: Numbers = field(init=False)
    cross: list[Numbers] = field(init=False)
    xy: Numbers = field(init=False)

    def __post_init__(self) -> None:
        total = mpmath.fsum(self.weight)
        columns = [*zip(*self.x, strict=True), self.y]
        self.mean = [mpmath.fdot(self.weight, c) / total * self.intercept for c in columns]
        centred = [[v - m for v in c] for c, m in zip(columns, self.mean, strict=True)]

        def product(a: Numbers, b: Numbers) -> Any:
            return mpmath.fdot(self.weight, [u * v for u, v in zip(a, b, strict=True)]) / total

        one = mpmath.mpf(1)
        self.scale = [
            (mpmath.sqrt(product(c, c)) or one) if self.standardize else one for c in centred[:-1]
        ]
        z = [[v / s for v in c] for c, s in zip(centred, self.scale, strict=False)]
        self.cross = [[product(a, b) for b in z] for a in z]
        self.xy = [product(a, centred[-1]) for a in z]

    def path(self, alphas: list[float], l1_ratio: float) -> list[Numbers]:
        """Return g for decreasing alphas."""
        g, result = [mpmath.mpf(0)] * len(self.xy), []
        for alpha in alphas:
            share = mpmath.mpf(alpha) * mpmath.mpf(l1_ratio)
            g = minimise(self.cross, self.xy, share, mpmath.mpf(alpha) - share, g)
            result.append(g)
        return result

    def mean_square(self, x: list[Numbers], y: Numbers, weight: Numbers, g: Numbers) -> Any:
        """Return the mean squared error of a fit of these rows in other rows."""
        b = [v / s for v, s in zip(g, self.scale, strict=True)]
        level = self.mean[-1] - mpmath.fdot(self.mean[:-1], b)
        squares = [(t - level - mpmath.fdot(row, b)) ** 2 for row, t in zip(x, y, strict=True)]
        return mpmath.fdot(weight, squares) / mpmath.fsum(weight)


def minimise(cross: list[Numbers], xy: Numbers, l1: Any, l2: Any, start: Numbers) -> Numbers:
    """Minimise g'A g/2 - g'h + l1 sum|g_j| + l2/2 sum g_j^2 by the method of Lawson and Hanson.

    The column whose slope exceeds l1 most enters; a coefficient that would change its sign stops
    at 0 and leaves. The objective falls with each column, so that the method ends at the minimum.
    """
    g = list(start)
    signs = {j: mpmath.sign(v) for j, v in enumerate(g) if v}
    rounding = mpmath.mpf(2) ** (20 - BITS)
    while True:
        while signs:
            support = list(signs)
            matrix = mpmath.matrix(
                [[cross[i][j] + (l2 if i == j else 0) for j in support] for i in support]
            )
            right = mpmath.matrix([xy[i] - l1 * signs[i] for i in support])
            goal = dict(zip(support, mpmath.lu_solve(matrix, right), strict=True))
            stops = {j: g[j] / (g[j] - goal[j]) for j in support if goal[j] * signs[j] < 0}
            step = min(stops.values(), default=mpmath.mpf(1))
            for j in support:
                g[j] += step * (goal[j] - g[j])
            if not stops:
                break
            for j in [j for j, share in stops.items() if share == step]:
                g[j] = mpmath.mpf(0)
                del signs[j]
        slope = [mpmath.fdot(row, g) + l2 * v - t for row, v, t in zip(cross, g, xy, strict=True)]
        size = [rounding * (abs(t) + mpmath.fdot(map(abs, row), map(abs, g)) + l1)
                for row, t in zip(cross, xy, strict=True)]  # fmt: skip
        excess = {j: abs(s) - l1 for j, s in enumerate(slope) if j not in signs}
        enters = [j for j, value in excess.items() if value > size[j]]
        if not enters:
            return g
        first = max(enters, key=lambda j: excess[j])
        signs[first] = -mpmath.sign(slope[first])


@dataclass
class Reference:
    """What a selection of one target and one l1_ratio has to find."""

    g: np.ndarray  # standardized coefficients of all rows, (A, features)
    fold_errors: np.ndarray  # (A, K)
    mean_error: np.ndarray  # (A,)
    standard_error: np.ndarray
    largest_alpha: float
    scale: np.ndarray  # (features,)


def reference(
    rows: Rows,
    alphas: list[float],
    l1_ratio: float,
    intercept: bool = True,
    standardize: bool = True,
) -> Reference:
    options = {"intercept": intercept, "standardize": standardize}
    with mpmath.workprec(BITS):
        x = [list(map(mpmath.mpf, row)) for row in rows.x.tolist()]
        y = list(map(mpmath.mpf, rows.y.tolist()))
        weight = list(map(mpmath.mpf, rows.weight.tolist()))
        fold = rows.fold.tolist()

        def part(values: Numbers, k: int, held_out: bool) -> Numbers:
            return [v for v, f in zip(values, fold, strict=True) if (f == k) == held_out]

        problem = Problem(x, y, weight, **options)
        path = problem.path(alphas, l1_ratio)
        errors = []
        for k in range(FOLDS):
            training = Problem(*(part(v, k, False) for v in (x, y, weight)), **options)
            held_out = [part(v, k, True) for v in (x, y, weight)]
            fits = training.path(alphas, l1_ratio)
            errors.append([training.mean_square(*held_out, g) for g in fits])
        mean = [mpmath.fsum(e) / FOLDS for e in zip(*errors, strict=True)]
        deviation = [
            mpmath.sqrt(mpmath.fsum((v - m) ** 2 for v in e) / (FOLDS * (FOLDS - 1)))
            for e, m in zip(zip(*errors, strict=True), mean, strict=True)
        ]
        largest = max(map(abs, problem.xy)) / mpmath.mpf(l1_ratio or 1)
        arrays = [np.array(v, dtype=object) for v in (path, errors, mean, deviation)]
        g, fold_errors, mean_error, standard_error = (v.astype(float) for v in arrays)
        scale = np.array(problem.scale, dtype=float)
    return Reference(g, fold_errors.T, mean_error, standard_error, float(largest), scale)


@dataclass
class Rows:
    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    fold: torch.Tensor
    unique: bool = True  # whether one vector of coefficients alone minimises the lasso


def hard_rows(name: str) -> Rows:
    generator = torch.Generator().manual_seed(5)
    rows, features = {"wide": (9, 6)}.get(name, (16, 5))

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=F64, generator=generator)

    x = draw(rows, features) + 0.5 * draw(rows, 1)
    noise = draw(rows)
    weight = torch.ones(rows, dtype=F64)
    y = x @ torch.tensor([2.0, -1.0, 0.0, 0.5, 0.0, 0.0], dtype=F64)[:features] + noise
    if name == "scales":
        x = x * torch.tensor([1e-8, 1.0, 1e8, 1e4, 1e-4], dtype=F64)
    elif name == "offsets":
        x, y = x + 1e9, y - 3e9
    elif name == "duplicates":
        x[:, 3] = x[:, 0]
        x[:, 4] = -2 * x[:, 1]
    elif name == "near duplicates":
        x[:, 3] = x[:, 0] + 1e-6 * x[:, 3]
    elif name == "weights":
        weight = 10.0 ** (6 * torch.rand(rows, dtype=F64, generator=generator) - 3)
    elif name == "tiny noise":
        y = y - noise
        y = y + 1e-6 * noise * y.std()
    elif name == "tiny target":
        y = y * 1e-150
    elif name == "constant in a fold":
        x[:, 2] = 0.0
        x[::FOLDS, 2] = torch.arange(1.0, 5.0, dtype=F64)  # all in fold 0
    elif name == "target of 0 in a fold":
        y[1::FOLDS] = 0.0
    elif name == "tiny fold":
        x[1::FOLDS] *= 1e-160
        y[1::FOLDS] *= 1e-160
    return Rows(x, y, weight, torch.arange(rows) % FOLDS, name != "duplicates")


CASES = ["plain", "scales", "offsets", "duplicates", "near duplicates", "wide", "weights"]
CASES += ["tiny noise", "tiny target", "constant in a fold", "target of 0 in a fold", "tiny fold"]
FEW_DIGITS = ["near duplicates", "tiny noise"]  # where the penalty is small
PENALTIES = {"lasso": 1.0, "elasticnet": 0.3, "ridge": 0.0}


def selected(rows: Rows, penalty: str, accuracy: str, **options: Any) -> Selection:
    ratio = {"l1_ratio": PENALTIES[penalty]} if penalty == "elasticnet" else {}
    return select_penalty(
        rows.x,
        rows.y,
        rows.weight,
        folds=rows.fold,
        penalty=penalty,
        accuracy=accuracy,
        **{"alphas": 8, **ratio, **options},
    )


def relative(values: torch.Tensor, truth: np.ndarray, size: np.ndarray | None = None) -> float:
    size = np.abs(truth) if size is None else size
    difference = np.abs(values.numpy() - truth)
    return float(np.where(difference == 0, 0, difference / np.maximum(size, 1e-300)).max())


def largest_errors(selection: Selection, rows: Rows, truth: Reference) -> dict[str, float]:
    """Return relative errors; those of coefficients are relative to the largest of their fit."""
    g = selection.path.coefficients[0, :, :, 0] * torch.from_numpy(truth.scale)
    size = np.abs(truth.g).max(1, keepdims=True)
    size = np.maximum(size, 1e-6 * size.max())  # at the largest alpha all are 0, to rounding
    found = {
        "fold errors": relative(selection.fold_errors[0, :, 0], truth.fold_errors),
        "mean error": relative(selection.mean_error[0, :, 0], truth.mean_error),
        "standard error": relative(
            selection.standard_error[0, :, 0], truth.standard_error, truth.mean_error
        ),
    }
    if rows.unique:
        found["coefficients"] = relative(g, truth.g, size)
    return found


@pytest.mark.filterwarnings("ignore:The choice .* (small|larg)est alpha")
@pytest.mark.parametrize(
    ("name", "penalty"),
    [(name, "lasso") for name in CASES]
    + [(name, "ridge") for name in ("scales", "near duplicates", "weights", "tiny fold")]
    + [(name, "elasticnet") for name in ("offsets", "duplicates", "wide", "tiny target")],
)
def test_hard_rows_have_the_path_and_errors_of_200_bits(name: str, penalty: str) -> None:
    rows = hard_rows(name)
    selection = selected(rows, penalty, "exact")
    alphas = selection.alphas[0, :, 0].tolist()
    truth = reference(rows, alphas, PENALTIES[penalty])
    if penalty != "ridge":
        assert alphas[0] == pytest.approx(truth.largest_alpha, rel=1e-14)
    errors = largest_errors(selection, rows, truth)
    assert max(errors.values()) < 1e-9, errors
    if rows.unique and penalty != "ridge":
        zero = selection.path.coefficients[0, :, :, 0].numpy() == 0
        decided = (truth.g == 0) | (np.abs(truth.g) > 1e-14 * np.abs(truth.g).max())
        assert (zero == (truth.g == 0))[decided].all()
    least = int(truth.mean_error.argmin())
    within = truth.mean_error <= truth.mean_error[least] + truth.standard_error[least]
    assert selection.index_min[0].tolist() == [0, least]
    assert selection.index_1se[0].tolist() == [0, int(within.argmax())]
    for values in (*selection.path, *selection.criteria[:2], selection.fold_errors):
        assert values.isfinite().all()


@pytest.mark.filterwarnings("ignore:The choice .* (small|larg)est alpha")
@pytest.mark.parametrize("options", [{"intercept": False}, {"standardize": False}])
@pytest.mark.parametrize("name", ["plain", "scales", "weights", "wide"])
def test_options_keep_the_digits_of_hard_rows(name: str, options: dict[str, bool]) -> None:
    rows = hard_rows(name)
    if name == "scales":  # without `standardize` the largest column alone would count
        rows.x *= torch.tensor([1e6, 1.0, 1e-6, 1e-4, 1e4], dtype=F64)
    selection = selected(rows, "lasso", "exact", **options)
    truth = reference(rows, selection.alphas[0, :, 0].tolist(), 1.0, **options)
    errors = largest_errors(selection, rows, truth)
    assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [(name, "float64") for name in CASES] + [(name, "exact") for name in (*FEW_DIGITS, "wide")],
)
def test_a_choice_with_few_digits_has_a_warning(name: str, accuracy: str) -> None:
    rows = hard_rows(name)
    alphas = [1e-2, 1e-5, 1e-8]  # hardly a penalty
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        selection = selected(rows, "lasso", accuracy, alphas=alphas)
    truth = reference(rows, alphas, 1.0)
    place = int(selection.index[0, 1])
    g = selection.coefficients * torch.from_numpy(truth.scale)
    errors = [relative(selection.mean_error[0, place, 0], truth.mean_error[place])]
    if rows.unique:
        errors.append(relative(g, truth.g[place], np.abs(truth.g[place]).max()))
    has_warning = any("digits" in str(warning.message) for warning in caught)
    assert has_warning or max(errors) < 1e-8, errors
    assert not has_warning or name in FEW_DIGITS


@pytest.mark.parametrize("name", ["plain", *FEW_DIGITS])
def test_a_note_says_from_which_alpha_fits_may_have_few_digits(name: str) -> None:
    rows = hard_rows(name)
    alphas = [1.0, 1e-2, 1e-5, 1e-8, 1e-11]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        selection = selected(rows, "lasso", "float64", alphas=alphas)
    text = " ".join(str(warning.message) for warning in caught)
    found = re.search(r"with an alpha of (\S+) or less, .* may have fewer than 8 correct", text)
    from_alpha = float(found[1]) if found else 0.0
    truth = reference(rows, alphas, 1.0)
    errors = np.abs(selection.mean_error[0, :, 0].numpy() / truth.mean_error - 1)
    safe = np.array(alphas) > from_alpha
    assert safe[0]
    assert errors[safe].max() < 1e-8
    assert safe.all() == (name not in FEW_DIGITS)
    assert safe.all() or errors[~safe].max() > 1e-8
    assert selection.reliable[0, :, 0].tolist() == safe.tolist()
