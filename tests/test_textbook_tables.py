"""Robust, clustered and Newey-West standard errors are those that others have printed."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as api
import statsmodels.stats
import torch
from statsmodels.regression.tests.results import results_grunfeld_ols_robust_cluster as stata

from linreg_lightning import least_squares

# Petersen (2009), "Estimating standard errors in finance panel data sets", Review of Financial
# Studies 22: the results for his test data, 500 firms in 10 years; intercept and slope, at
# https://www.kellogg.northwestern.edu/faculty/petersen/htm/papers/se/test_data.htm
PETERSEN: dict[str, list[str]] = {
    "estimate": ["0.0297", "1.0348"],
    "classical": ["0.0284", "0.0286"],
    "HC1": ["0.0284", "0.0284"],
    "firm": ["0.0670", "0.0506"],
    "year": ["0.0234", "0.0334"],
    "firm and year": ["0.0651", "0.0536"],
}
# Greene (1993), Econometric Analysis, 2nd edition, data of Table 14.1 (p. 385), coefficients of
# Table 14.2, errors of Table 14.3 (p. 391), with the digits that R's package sandwich 3.1-1 prints
# in the example of ?PublicSchools (tests/Examples/sandwich-Ex.Rout.save): expenditure on schools
# and income of 50 states.
SCHOOLS = """
275 6247  821 10851 339 7374  275 6183  387 8850  452 8001  531 8914  424 8604  316 7505
265 6700  403 8380  304 6813  437 8745  345 7696  431 7873  355 8001  260 6615  316 6640
327 6333  427 8306  427 8063  466 8442  477 7847  259 5736  274 7342  433 7051  294 7391
359 9032  279 7277  423 8818  388 6505  447 8267  335 6607  311 7478  322 7812  320 6951
397 7839  412 7733  342 7526  315 6242  321 6841  268 6489  315 7697  417 6622  353 6541
356 7624  415 8450  428 10022 320 6456  500 9096
"""
SCHOOL_TABLE: dict[str, list[str]] = {
    "estimate": ["832.9144", "-1834.2029", "1587.0423"],
    "classical": ["327.2925", "828.9855", "519.0768"],
    "HC0": ["460.8917", "1243.0430", "829.9927"],
}
# Greene (1993), data of Table 15.1 (p. 411), Example 15.3; Zeileis (2004), "Econometric computing
# with HC and HAC covariance matrix estimators", Journal of Statistical Software 11(10), prints the
# Newey-West errors with four lags (vignettes/sandwich.Rout.save of sandwich 3.1-1): nominal GNP,
# nominal investment, price index and interest rate of the United States, 1963 to 1982.
INVESTMENT = """
596.7 90.9 0.7167 3.23      637.7 97.4 0.7277 3.55      691.1 113.5 0.7436 4.04
756.0 125.7 0.7676 4.50     799.6 122.8 0.7906 4.19     873.4 133.3 0.8254 5.16
944.0 149.3 0.8679 5.87     992.7 144.2 0.9145 5.95     1077.6 166.4 0.9601 4.88
1185.9 195.0 1.0000 4.50    1326.4 229.8 1.0575 6.44    1434.2 228.7 1.1508 7.83
1549.2 206.1 1.2579 6.25    1718.0 257.9 1.3234 5.50    1918.3 324.1 1.4005 5.46
2163.9 386.6 1.5042 7.46    2417.8 423.0 1.6342 10.28   2631.7 401.9 1.7842 11.77
2954.1 474.9 1.9514 13.42   3073.0 414.5 2.0688 11.02
"""


def check(found: torch.Tensor, printed: list[str]) -> None:
    """Compare numbers with printed ones, to the digits that are printed."""
    assert [
        f"{a:.{len(b.partition('.')[2])}f}" for a, b in zip(found.tolist(), printed, strict=True)
    ] == (printed)


def test_errors_of_school_spending_are_those_of_greene() -> None:
    spending, income = np.array(SCHOOLS.split(), float).reshape(-1, 2).T
    assert len(income) == 50
    income = income / 1e4
    fit = least_squares(np.column_stack([income, income**2]), spending)
    check(fit.estimate, SCHOOL_TABLE["estimate"])
    check(fit.standard_error, SCHOOL_TABLE["classical"])
    check(fit.robust("HC0").standard_error, SCHOOL_TABLE["HC0"])


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


def test_newey_west_errors_of_investment_are_those_of_zeileis() -> None:
    gnp, investment, price, interest = np.array(INVESTMENT.split(), float).reshape(-1, 4).T
    real_interest = interest[1:] - 100 * np.diff(price) / price[:-1]
    x = np.column_stack([(gnp / price)[1:], real_interest])
    fit = least_squares(x, (investment / price)[1:])
    check(fit.estimate, ["-12.533601", "0.169136", "-1.001438"])
    errors = fit.robust("HAC", lags=4).standard_error
    check(errors, ["18.958298", "0.016751", "3.342375"])


# The commands of Stata and their results are in the file of statsmodels that `stata` names.
@pytest.mark.parametrize(
    ("results", "columns"),
    [
        ("results_cluster", ["firm"]),  # regress invest mvalue kstock, vce(cluster company)
        # ivreg2 invest mvalue kstock, cluster(company time) small
        ("results_cluster_2groups_small", ["firm", "year"]),
    ],
)
def test_clustered_errors_of_grunfeld_are_those_of_stata(results: str, columns: list[str]) -> None:
    data = api.datasets.grunfeld.load_pandas().data
    data = data[~data["firm"].isin([b"American Steel", "American Steel"])]
    fit = least_squares(data[["value", "capital"]].to_numpy(), data["invest"].to_numpy())
    keys = [data[name].astype("category").cat.codes.to_numpy() for name in columns]
    # ivreg2 takes the smaller number of clusters in all parts, as fixest does.
    fit = fit.robust("cluster", cluster=keys, small_sample="fixest")
    printed = getattr(stata, results).params_table[[2, 0, 1]]
    np.testing.assert_allclose(fit.estimate, printed[:, 0], rtol=1e-6)
    np.testing.assert_allclose(fit.standard_error, printed[:, 1], rtol=1e-6)
