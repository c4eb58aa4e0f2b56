"""Says in sentences what the diagnostics of a fit mean, and what to do.

A test of many rows finds departures that do not matter, so that each sentence needs both a p below
0.01 and an effect of some size.
"""

import math
from typing import Any

_P = 0.01
_SPREAD = 1.25  # ratio of the residual deviations where predictions are large and where small
_EXPLAINED = 0.01  # part of the variance of e^2, or of e, that must depend on the columns
_SKEWNESS, _KURTOSIS = 0.5, 1.0
_AUTOCORRELATION = 0.1
_MANY_NORMAL_ROWS = 100  # rows for each term, from which errors need not be normal
_VIF, _CONDITION_INDEX, _PROPORTION = 10.0, 30.0, 0.5
_COOK = 1.0
_NAMES_SHOWN = 5


def column_sentences(diagnostics: Any) -> list[str]:
    """Return what a user should know of the columns of x."""
    found = []
    inflated = [name for name, value in diagnostics.vif.items() if value > _VIF]
    if inflated:
        largest, several = max(diagnostics.vif.values()), len(inflated) > 1
        found.append(
            f"{_names(inflated)} {_is_are(inflated)} nearly explained by the other columns (VIF "
            f"{'up to ' * several}{largest:.3g}): {'their' if several else 'its'} standard "
            f"error{'s are up to' if several else ' is'} {math.sqrt(largest):.3g} times as large "
            "as without that; predictions for rows like these do not suffer."
        )
    index = diagnostics.condition_indices[-1].item() if len(diagnostics.condition_indices) else 1.0
    if index > _CONDITION_INDEX and not inflated:
        shares = diagnostics.variance_proportions[-1].tolist()
        pairs = zip(diagnostics.terms, shares, strict=True)
        terms = [name for name, share in pairs if share > _PROPORTION]
        # A column far from 0, such as years, makes only the intercept less certain.
        if len(terms) > 1 and "intercept" not in terms:
            found.append(
                f"{_names(terms)} are nearly dependent (condition index {index:.3g}), so that "
                "each is known less well than their combinations."
            )
    return found


def target_sentences(target: Any, df_residual: int) -> list[str]:
    """Return what a user should know of the residuals and rows of one target."""
    if math.isnan(target.tests["jarque_bera"].statistic):
        return ["No test is possible: the fit leaves no residuals, or the target is constant."]
    sentences = [_variance(target), _shape(target), _order(target), _relation(target, df_residual)]
    return [sentence for sentence in [*sentences, *_rows(target)] if sentence]


def _variance(target: Any) -> str:
    test = target.tests["breusch_pagan"]
    if not (test.p < _P and test.statistic / target.rows > _EXPLAINED):
        return ""
    ratio = target.spread
    if ratio > _SPREAD:
        where = f"where predictions are large ({_times(ratio)} as wide)"
    elif ratio < 1 / _SPREAD:
        where = f"where predictions are small ({_times(1 / ratio if ratio else math.inf)} as wide)"
    else:
        where = "for some values of the columns than for others"
    if target.errors != "classical":
        effect = f"the standard errors {target.errors} allow for that, prediction intervals do not"
    else:
        log = ", or take the logarithm of the target" if ratio > 2 else ""
        effect = f"the standard errors may be wrong; consider errors HC3{log}"
    return f"Residuals spread more {where}, p {_p(test.p)}: {effect}."


def _shape(target: Any) -> str:
    test = target.tests["jarque_bera"]
    is_skew = abs(target.skewness) > _SKEWNESS
    if not (test.p < _P and (is_skew or abs(target.kurtosis) > _KURTOSIS)):
        return ""
    if is_skew:
        shape = f"a long tail {'above' if target.skewness > 0 else 'below'}"
        measure = f"skewness {target.skewness:.2f}"
    else:
        shape = "longer tails" if target.kurtosis > 0 else "shorter tails"
        shape, measure = f"{shape} than normal ones", f"excess kurtosis {target.kurtosis:.2f}"
    if target.rows > _MANY_NORMAL_ROWS * target.rank:
        effect = "with this many rows tests of coefficients hold, but not prediction intervals"
    else:
        effect = "p and intervals are approximate"
    return f"Residuals have {shape} ({measure}, p {_p(test.p)}): {effect}."


def _order(target: Any) -> str:
    correlation = target.autocorrelation
    # In independent rows, it has about a standard deviation of 1 / sqrt(n).
    if not (abs(correlation) > max(_AUTOCORRELATION, 2.6 / math.sqrt(target.rows))):
        return ""
    kind = "resemble each other" if correlation > 0 else "alternate"
    if target.errors in ("HAC", "cluster"):
        effect = f"the standard errors {target.errors} are for such rows"
    else:
        effect = (
            "if rows are in the order of time or of groups, consider errors HAC with lags, or "
            "errors cluster"
        )
    return f"Residuals of neighbouring rows {kind} (correlation {correlation:.2f}): {effect}."


def _relation(target: Any, df_residual: int) -> str:
    test = target.tests["reset"]
    added, df = test.df
    explained = test.statistic * added / (test.statistic * added + df) if added else math.nan
    if not (test.p < _P and explained > _EXPLAINED):
        return ""
    return (
        f"Squares and cubes of the predictions explain {100 * explained:.2g}% of the residual "
        f"variance, p {_p(test.p)}: the relation is not a plain sum of the columns; consider a "
        "square, a logarithm or a product of columns."
    )


def _rows(target: Any) -> list[str]:
    found = []
    influential = [row for row in target.influential if row.cook > _COOK]
    if influential:
        rows = [f"{each.row}" for each in influential]
        found.append(
            f"The estimates rest on row{'s' * (len(rows) > 1)} {_names(rows)} (Cook's distance "
            f"{influential[0].cook:.3g}): look at {'it' if len(rows) == 1 else 'them'}, and fit "
            f"once without {'it' if len(rows) == 1 else 'them'}."
        )
    if target.outlier_p < _P:
        found.append(
            f"The residual of row {target.outlier_row} is too large for normal errors (p "
            f"{_p(target.outlier_p)} among {target.rows} rows): check its values."
        )
    if rows := [str(number) for number in target.determining_rows]:
        found.append(
            f"Row{'s' * (len(rows) > 1)} {_names(rows)} alone determine{'s' * (len(rows) == 1)} a "
            "coefficient (leverage 1), so that nothing tells whether it is right."
        )
    return found


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times" if ratio < 100 else "over 100 times"


def _p(p: float) -> str:
    return "<1e-16" if p < 1e-16 else f"{p:.2g}"


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: list[str]) -> str:
    shown = names[:_NAMES_SHOWN]
    if len(names) > _NAMES_SHOWN:
        return f"{', '.join(shown)} and {len(names) - _NAMES_SHOWN} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
