"""Tests of linear hypotheses, against statsmodels and exact fractions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from statsmodels import api

from linreg_lightning import Fit, least_squares
from linreg_lightning.algebra.robust_errors import ErrorOptions, RobustErrors


def robust(fit: Fit, covariances: list[np.ndarray], **numbers: float) -> Fit:
    """Return a fit of all columns with an intercept, with covariances in the user's units."""
    exponent, features = fit.solution.exponent, fit.solution.equations.features
    unit = torch.cat((torch.zeros(1), exponent[:features].double()))
    unit = unit + unit[:, None] - 2 * exponent[features:, None, None]
    covariance = torch.tensor(np.array(covariances)) * 2.0**unit
    return replace(fit, errors=RobustErrors(ErrorOptions("HC3"), covariance, **numbers))


def random_hypotheses(
    random: np.random.Generator, names: list[str], unit: np.ndarray
) -> tuple[str, np.ndarray]:
    """Return hypotheses as text, and as [A c] for columns divided by their units."""
    count = random.integers(1, len(names)) if len(names) > 1 else 1
    numbers = random.integers(-3, 4, (count, len(names) + 1)) / 4.0
    numbers[:, :count] += np.eye(count) * 5
    parts = []
    for *row, value in numbers:
        terms = zip(row, unit.tolist(), names, strict=True)
        text = " + ".join(f"{a * size}*{name}" for a, size, name in terms)
        parts.append(f"{text.replace('+ -', '- ')} = {value}")
    return ", ".join(parts), numbers


def test_two_hundred_problems_agree_with_statsmodels() -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        n, p, targets = random.integers(15, 80), random.integers(1, 6), random.integers(1, 3)
        x = random.normal(size=(n, p)) + random.integers(0, 3)
        y = 1 + x @ random.normal(size=(p, targets)) + random.normal(size=(n, targets))
        weight = random.uniform(0.2, 3, n) if seed % 3 == 0 else None
        intercept, kind = seed % 4 != 1, "HC3" if seed % 4 == 2 else "nonrobust"
        scale = 2.0 ** random.integers(-13, 14, p)
        frame = pd.DataFrame(x * scale, columns=[f"a b[{j}]" for j in range(p)])
        names = [*["intercept"][:intercept], *frame.columns]
        unit = np.array([*[1.0][:intercept], *scale])
        text, numbers = random_hypotheses(random, names, unit)
        design = api.add_constant(x) if intercept else x
        weights = 1.0 if weight is None else weight
        models = [api.WLS(y[:, k], design, weights) for k in range(targets)]
        results = [model.fit(cov_type=kind, use_t=True) for model in models]
        fit = least_squares(frame, y, weight, intercept=intercept)
        if kind == "HC3":
            covariances = [each.cov_params() / np.outer(unit, unit) for each in results]
            fit = robust(fit, covariances, df=n - p - 1, df_f=n - p - 1)
        test = fit.test(text)
        for k, result in enumerate(results):
            joint = result.f_test((numbers[:, :-1], numbers[:, -1]))
            single = result.t_test((numbers[:, :-1], numbers[:, -1]))
            compare(test.f[k], joint.fvalue)
            compare(test.f_p[k], joint.pvalue)
            compare(test.estimate[:, k], single.effect)
            compare(test.standard_error[:, k], single.sd)
            compare(test.t[:, k], single.tvalue)
            compare(test.p[:, k], single.pvalue)
            compare(torch.stack((test.low[:, k], test.high[:, k]), 1), single.conf_int())
            assert test.df_residual == joint.df_denom


def compare(actual: torch.Tensor, expected: object) -> None:
    np.testing.assert_allclose(actual.squeeze(), np.squeeze(expected), rtol=1e-9, atol=1e-12)
