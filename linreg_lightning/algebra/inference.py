"""What statisticians expect of a fit: standard errors, tests, intervals, goodness of fit.

With n rows of weight above 0, k coefficients (the intercept included) and SSR = sum of w r^2 the
residual variance is s^2 = SSR / (n - k). Weights are precisions, as in `statsmodels.WLS` and R's
`lm`: a row of weight 2 moves the coefficients as two rows do, but counts once in n.

Everything that needs s is NaN where n = k, and with a ridge penalty, which biases the estimates.

torch has no incomplete beta function. Here it is a continued fraction of fewer than 60 terms (W. H.
Press et al., Numerical Recipes, 6.4), times a factor in which the large logarithms cancel before
they are rounded (C. Loader, Fast and accurate computation of binomial probabilities (2000)).
"""

import math
from numbers import Real
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import Number, concatenate, ldexp, to_float64
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.robust_errors import RobustErrors, wald_f
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.algebra.solve import solve
from linreg_lightning.validation import check_argument

_MAX_TERMS = 512
_TERM_BLOCK = 64  # terms at a time: the number of operations takes the time, not their size


def find_constant(
    solution: Solution[Number], with_intercept: NormalEquations[Number]
) -> Solution[Number]:
    """Return a solution without an intercept that knows whether its columns hold a constant.

    They do if an intercept would not raise their rank: a column of ones, or indicators of all
    levels of a category. `with_intercept` are the equations of the same rows with an intercept.
    """
    plain = solve(solution.equations) if solution.ridge else solution  # a penalty hides the rank
    augmented = solve(with_intercept)
    if augmented.rank > plain.rank:
        return solution
    features = solution.equations.features
    change = 2 * (augmented.exponent - solution.exponent)[features:]
    return solution._replace(has_constant=True, variation=ldexp(augmented.total, change))


def coefficient_table(
    solution: Solution[Number], confidence: float = 0.95, errors: RobustErrors | None = None
) -> dict[str, Any]:
    """Return the table of coefficients by name, as `Fit` has it; (terms, targets) each.

    The variance of coefficient j is s^2 ((X'WX)^-1)_jj, that of the intercept
    s^2 (1 / sum(w) + m' (X'WX)^-1 m) with m the means of the columns; or that of robust errors.
    """
    check_confidence(confidence)
    equations, features = solution.equations, solution.equations.features
    if errors is None:
        df: float = solution.df_residual
        inverse = concatenate(solution.intercept_inverse[None], solution.inverse_diagonal)
        error = to_float64((inverse[:, None] * residual_variance(solution)).sqrt())
        error = error if equations.intercept else error[1:]
    else:
        df = errors.df
        error = errors.covariance.diagonal(dim1=1, dim2=2).sqrt().T
    terms, units = _terms(solution)
    estimate = torch.cat((solution.intercept[None], solution.coefficients))
    estimate = estimate if equations.intercept else estimate[1:]
    standard_error = torch.full_like(estimate, math.nan)
    standard_error[terms] = ldexp(error, solution.exponent[features:] - units[:, None])
    t = estimate / standard_error
    margin = t_quantile(confidence, df) * standard_error
    return {
        "estimate": estimate,
        "standard_error": standard_error,
        "t": t,
        "p": t_two_sided(t, df),
        "low": estimate - margin,
        "high": estimate + margin,
    }


def coefficient_covariance(solution: Solution[Number], errors: RobustErrors | None) -> Tensor:
    """Return the covariances of the estimates, (targets, terms, terms), in the user's units."""
    equations, features = solution.equations, solution.equations.features
    terms, units = _terms(solution)
    if errors is None:
        inverse = solution.inverse
        if equations.intercept:
            unit = equations.exponent[solution.kept] - solution.exponent[solution.kept]
            mean = ldexp(to_float64(equations.mean)[solution.kept], unit)
            beside = -(inverse @ mean)[:, None]
            corner = to_float64(solution.intercept_inverse).reshape(1, 1)
            above = torch.cat((corner, beside.T), 1)
            inverse = torch.cat((above, torch.cat((beside, inverse), 1)))
        scaled = to_float64(residual_variance(solution))[:, None, None] * inverse
    else:
        scaled = errors.covariance
    size = equations.features + equations.intercept
    covariance = torch.full((len(scaled), size, size), math.nan, dtype=torch.float64)
    unit = 2 * solution.exponent[features:, None, None] - units - units[:, None]
    covariance[:, terms[:, None], terms] = ldexp(scaled, unit)
    return covariance


def _terms(solution: Solution[Number]) -> tuple[Tensor, Tensor]:
    """Return the places of the terms fitted, the intercept first, and the exponents of units."""
    units = solution.exponent[solution.kept]
    if not solution.equations.intercept:
        return solution.kept, units
    zero = torch.zeros(1, dtype=torch.int64)  # the place of the intercept, whose unit is 2^0
    return torch.cat((zero, solution.kept + 1)), torch.cat((zero, units))


def fit_statistics(
    solution: Solution[Number], errors: RobustErrors | None = None
) -> dict[str, Any]:
    """Return the measures of fit by name, as `Fit.statistics` lists them."""
    equations, features = solution.equations, solution.equations.features
    n, k, absorbed = equations.rows, solution.rank, solution.absorbed
    # F is that of the coefficients alone, without those of absorbed effects.
    df_model, df_residual = k - (solution.has_constant and not absorbed), solution.df_residual
    to_explain = solution.total if absorbed else solution.variation
    exponent, half_weight = solution.exponent[features:], equations.weight_exponent // 2
    variance = residual_variance(solution)
    unexplained = to_float64(solution.residual / solution.variation)
    explained = (to_explain - solution.residual) / (df_model or math.nan)
    f = to_float64(explained) / to_float64(variance)
    df_f: float = df_residual
    if errors is not None:
        f, df_f = wald_f(solution, errors), errors.df_f
    log_residual = to_float64(solution.residual).log()
    log_residual = log_residual + math.log(2) * (2 * exponent + equations.weight_exponent).double()
    deviance = n * (log_residual + math.log(2 * math.pi / n) + 1)
    log_likelihood = 0.5 * (equations.log_weight - deviance)
    if solution.ridge:
        log_likelihood = log_likelihood * math.nan
    loss = ldexp(to_float64(solution.residual / equations.weight), 2 * exponent)
    per_target = {
        "residual_sd": ldexp(to_float64(variance.sqrt()), exponent + half_weight),
        "rmse": loss.sqrt(),
        "r2": _share_explained(solution, solution.variation),
        **({"r2_within": _share_explained(solution, solution.total)} if absorbed else {}),
        "r2_adjusted": 1 - unexplained * ((n - solution.has_constant) / _residual_df(solution)),
        "f": f,
        "f_p": f_tail(f, df_model, df_f),
        "log_likelihood": log_likelihood,
        "aic": 2 * (k + absorbed) - 2 * log_likelihood,
        "bic": (k + absorbed) * math.log(n) - 2 * log_likelihood,
    }
    return {
        "rows": n,
        "rank": k,
        **({"absorbed": absorbed} if absorbed else {}),
        "df_residual": df_residual,
        "condition": solution.condition,
        "loss": loss.mean().item(),
        **{name: v.item() if len(v) == 1 else v.tolist() for name, v in per_target.items()},
        **({} if solution.has_constant else {"r2_uncentered": True}),
    }


def _share_explained(solution: Solution[Number], variation: Number) -> Tensor:
    return to_float64((variation - solution.residual) / variation)


def check_confidence(confidence: float) -> None:
    """Refuse, with an InputError, a confidence whose quantile is not right to eleven digits."""
    expected = "a number from 0.000001 to below 1, as 0.95"
    valid = isinstance(confidence, Real) and 1e-6 <= confidence < 1.0
    check_argument("confidence", confidence, valid, expected)


def residual_variance(solution: Solution[Number]) -> Number:
    """Return s^2 in units of v c_y^2, (targets,)."""
    return solution.residual / _residual_df(solution)


def _residual_df(solution: Solution[Number]) -> float:
    """Return n - k; NaN where it is 0, and with a penalty."""
    df = solution.df_residual
    return df if df > 0 and solution.ridge == 0 else math.nan


def f_tail(f: Tensor, df_model: float, df_residual: float) -> Tensor:
    """Return P(F > f) for Fisher's F, with a relative error of about 1e-13.

    P = I_x(m/2, k/2) with x = m / (m + k f), I the regularised incomplete beta function, k and m
    the degrees of freedom. f >= 0 is float64. NaN, and degrees of freedom of 0, give NaN.

    >>> f_tail(torch.tensor([0.0, 4.0, torch.inf]).double(), 2, 2)
    tensor([1.0000, 0.2000, 0.0000], dtype=torch.float64)
    """
    k, m = float(df_model), float(df_residual)
    if not (k > 0 and m > 0):
        return torch.full_like(f, math.nan)
    x, y = m / (m + k * f), k / (k + m / f)
    factor = _factor(f, k, m)
    # The fraction converges fast for either P or 1 - P.
    direct = x < (m / 2 + 1) / ((m + k) / 2 + 2)
    a, b = f.new_tensor(m / 2), f.new_tensor(k / 2)
    a, b = torch.where(direct, a, b), torch.where(direct, b, a)
    x, y = torch.where(direct, x, y), torch.where(direct, y, x)
    part = factor * _fraction(a, b, x, y)
    tail = torch.where(direct, part, 1 - part)
    tail = torch.where(f == 0, 1.0, torch.where(f == math.inf, 0.0, tail))
    return torch.where(f.isnan(), f, tail)


def t_two_sided(t: Tensor, df: float) -> Tensor:
    """Return P(|T| > |t|) for Student's t; NaN where t is NaN or `df` is not above 0.

    With infinitely many degrees of freedom T is normal.

    >>> t_two_sided(torch.tensor([0.0, 1.959963984540054]).double(), math.inf)
    tensor([1.0000, 0.0500], dtype=torch.float64)
    """
    if df == math.inf:
        p: Tensor = torch.special.erfc(t.abs() / math.sqrt(2))
        return p
    size = t.abs().clamp(max=1e150)
    # For larger t only the leading power is left: P(t) = P(s) (s / t)^df.
    return f_tail(size * size, 1.0, df) * (size / t.abs()).nan_to_num(1.0) ** max(df, 0.0)


def t_quantile(confidence: float, df: float) -> float:
    """Return the t with P(|T| <= t) = confidence; NaN where `df` is not above 0.

    Newton's method on log P as a function of log t, which falls and is concave: from the second
    step on, it approaches the solution from one side.
    """
    if not df > 0:
        return math.nan
    log_p = math.log1p(-confidence)
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    if df == math.inf:
        return z
    # The first terms for many degrees of freedom (Abramowitz and Stegun, 26.7.5).
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    u = math.log(z + terms[0] / df + terms[1] / df**2)
    for _ in range(200):
        f = torch.tensor(math.exp(2 * u), dtype=torch.float64)
        p = float(f_tail(f, 1.0, df))
        step = (math.log(p) - log_p) * p / (2 * float(_factor(f, 1.0, df)))
        u += max(-1.0, min(1.0, step))
        if abs(step) < 1e-8:
            break  # the remaining error is about its square
    return math.exp(u)


def _factor(f: Tensor, k: float, m: float) -> Tensor:
    """Return x^(m/2) y^(k/2) / B(m/2, k/2), which is f times the density of F at f.

    With a = m/2, b = k/2, n = a + b and Stirling's formula for B it is
    (a / (n x))^-a (b / (n y))^-b sqrt(a b / (2 pi n)) e^(s(n) - s(a) - s(b)).
    """
    above = torch.log1p(k * (f - 1) / (k + m))  # log of a / (n x)
    below = torch.log1p(m * (1 / f - 1) / (k + m))  # log of b / (n y)
    a, b = m / 2, k / 2
    scale = 0.5 * math.log(a * b / (2 * math.pi * (a + b)))
    scale += _stirling(a + b) - _stirling(a) - _stirling(b)
    return torch.exp(scale - (a * above + b * below))


def _fraction(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return I_x(a, b) B(a, b) / (x^a y^b) for x < (a + 1) / (a + b + 2), all of one shape.

    For large a the fraction needs all digits of y = 1 - x. Each term multiplies the matrix
    [A_n A_n-1; B_n B_n-1] of two convergents A / B by its own; a tree multiplies many terms.
    """
    start = a * (a * y - b * x + 1) / (a + 1)
    one, zero = torch.ones_like(start), torch.zeros_like(start)
    state = torch.stack((start, one, one, zero), -1).reshape(*start.shape, 2, 2)
    for first in range(1, _MAX_TERMS if x.numel() else 1, _TERM_BLOCK):
        m = torch.arange(first, first + _TERM_BLOCK, dtype=x.dtype).reshape(-1, *[1] * x.ndim)
        odd = a + 2 * m - 1
        over = (a + m - 1) * (a + b + m - 1) * m * (b - m) / odd**2 * x * x
        under = m + m * (b - m) * x / odd
        under = under + (a + m) * (a * y - b * x + 1 + m * (1 + y)) / (odd + 2)
        size = over.abs() + under.abs()
        entries = under / size, 1 / size, over / size, torch.zeros_like(size)
        terms = torch.stack(entries, -1).reshape(*size.shape, 2, 2)
        while len(terms) > 1:
            terms = terms[::2] @ terms[1::2]
        state = state @ terms[0]
        state = state / state[..., 1:, :1]
        value, previous = (state[..., 0, :] / state[..., 1, :]).unbind(-1)
        if bool(((value - previous).abs() <= 2.0**-51 * value.abs()).all()):
            break
    return state[..., 1, 0] / state[..., 0, 0]


def _stirling(z: float) -> float:
    """Return log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2), for z > 0."""
    if z < 16:
        return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + 0.5 * math.log(2 * math.pi))
    w = 1 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z
