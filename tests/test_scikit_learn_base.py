"""scikit-learn's own tests of LinearRegression, with LinearRegressor in its place."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn
from sklearn.linear_model.tests import test_base as original

from linreg_lightning import LinearRegressor

if not sklearn.__version__.startswith("1.9."):
    pytest.skip("the exceptions are those of scikit-learn 1.9", allow_module_level=True)

_POSITIVE = "LinearRegressor has no argument `positive`"
_SPARSE = "LinearRegressor refuses sparse X"
# The tests that LinearRegressor does not pass, each with the reason.
EXCEPTIONS = {
    "test_raises_value_error_if_positive_and_sparse": _POSITIVE,
    "test_linear_regression_positive": _POSITIVE,
    "test_linear_regression_positive_multiple_outcome": _POSITIVE,
    "test_linear_regression_positive_vs_nonpositive": _POSITIVE,
    "test_linear_regression_positive_vs_nonpositive_when_positive": _POSITIVE,
    "test_linear_regression_sparse": _SPARSE,
    "test_linear_regression_sparse_equal_dense": _SPARSE,
    "test_linear_regression_sparse_multiple_outcome": _SPARSE,
    "test_inplace_data_preprocessing": "copy_X=False must overwrite X; LinearRegressor never does",
}

# The others, of private functions of scikit-learn, do not call LinearRegression.
globals().update(
    {
        name: test
        for name, test in vars(original).items()
        if name.startswith("test_") and "LinearRegression" in test.__code__.co_names
    }
)


def in_place_of_linear_regression(tol: float = 0.0, copy_X: bool = True, **arguments: Any) -> Any:  # noqa: N803
    """Make an estimator; `tol` is of the solver for sparse X, and X is never overwritten."""
    return LinearRegressor(**arguments)


@pytest.fixture
def global_random_seed() -> int:
    return 42


@pytest.fixture(autouse=True)
def _in_place_of_linear_regression(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "LinearRegression", in_place_of_linear_regression)
    arguments = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    is_sparse = arguments.get("sparse_container") is not None
    reason = _SPARSE if is_sparse else EXCEPTIONS.get(request.node.originalname)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
