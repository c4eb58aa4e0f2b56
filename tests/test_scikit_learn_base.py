"""scikit-learn's own tests of LinearRegression, with LinearRegressor in its place."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn
from sklearn.linear_model.tests import test_base as scikit_learn

from linreg_lightning import LinearRegressor

if not sklearn.__version__.startswith("1.9."):
    pytest.skip("the exceptions are those of scikit-learn 1.9", allow_module_level=True)

_POSITIVE = "LinearRegressor has no argument `positive`"
# The tests that LinearRegressor does not pass.
EXCEPTIONS = {
    "test_raises_value_error_if_positive_and_sparse": _POSITIVE,
    "test_linear_regression_positive": _POSITIVE,
    "test_linear_regression_positive_multiple_outcome": _POSITIVE,
    "test_linear_regression_positive_vs_nonpositive": _POSITIVE,
    "test_linear_regression_positive_vs_nonpositive_when_positive": _POSITIVE,
}

# Tests of private functions of scikit-learn do not name LinearRegression.
globals().update(
    {
        name: test
        for name, test in vars(scikit_learn).items()
        if name.startswith("test_") and "LinearRegression" in test.__code__.co_names
    }
)


def in_place_of_linear_regression(tol: float = 0.0, copy_X: bool = True, **arguments: Any) -> Any:  # noqa: N803
    return LinearRegressor(**arguments)


@pytest.fixture
def global_random_seed() -> int:
    return 42


@pytest.fixture(autouse=True)
def _with_linear_regressor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scikit_learn, "LinearRegression", in_place_of_linear_regression)
    reason = EXCEPTIONS.get(request.node.originalname)
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
