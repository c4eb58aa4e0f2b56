"""Functions of formulas that learn from the rows: centring, polynomials and splines."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any, final

import numpy as np

from linreg_lightning.design_matrix.exact_sum import ExactSum
from linreg_lightning.design_matrix.formula_expressions import (
    Columns,
    Expression,
    State,
    function_name,
    literals,
)
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats

Arguments = tuple[list[Any], dict[str, Any]]


def _scale(center: Any = True, scale: Any = True, ddof: float = 1) -> dict[str, Any]:
    return locals()


def _standardize(center: Any = True, rescale: Any = True, ddof: float = 0) -> dict[str, Any]:
    return {"center": center, "scale": rescale, "ddof": ddof}


def _center() -> dict[str, Any]:
    return {"center": True, "scale": False, "ddof": 1}


def _poly(degree: int = 1, raw: bool = False) -> dict[str, Any]:
    if type(degree) is not int or degree < 1:
        raise InputError(f"formula: poly has the degree {degree!r}; type a whole number above 0")
    return {"degree": degree, "raw": raw}


_SIGNATURES: dict[str, Callable[..., dict[str, Any]]] = {
    "scale": _scale,
    "standardize": _standardize,
    "center": _center,
    "poly": _poly,
}


def _fits(option: str, value: Any) -> bool:
    """Whether an option of a function may have a value."""
    if value is None:
        return option not in ("degree", "ddof")
    if option in ("df", "degree"):
        return type(value) is int
    if option in ("ddof", "lower_bound", "upper_bound"):
        return type(value) in (int, float)
    if option in ("center", "scale"):
        return type(value) in (bool, int, float)
    if option in ("raw", "include_intercept"):
        return type(value) is bool
    if option == "knots":
        return isinstance(value, list | tuple) and all(type(v) in (int, float) for v in value)
    return True


def _options(name: str, arguments: Arguments) -> dict[str, Any]:
    """Return the options of a call by name; raise InputError for those that it does not take."""
    options = _named_options(name, *arguments)
    for option, value in options.items():
        if not _fits(option, value):
            text = f"formula: {name} has {option}={value!r}, which it does not take"
            raise InputError(f"{text}; see the documentation of formulaic for what it takes")
    return options


def _named_options(name: str, values: list[Any], words: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a call by name; raise InputError for unknown ones."""
    try:
        if name in _SIGNATURES:
            return _SIGNATURES[name](*values, **words)
        signature = inspect.signature(spline(name)).parameters
        names = [n for n in signature if not n.startswith("_") and n not in ("x", "cyclic")]
        options = dict(zip(names, values, strict=False))
        if len(values) > len(names) or words.keys() - set(names) or words.keys() & options.keys():
            raise TypeError
        return options | words
    except TypeError:
        shown = ", ".join([*map(repr, values), *(f"{k}={v!r}" for k, v in words.items())])
        remedy = "see the documentation of formulaic for those it takes"
        raise InputError(f"formula: {name} does not take ({shown}); {remedy}") from None


def spline(name: str) -> Any:
    """Return formulaic's function of a spline basis."""
    from linreg_lightning.design_matrix.formula_terms import import_formulaic

    return import_formulaic().transforms.TRANSFORMS[name]


def apply(name: str, x: Floats, arguments: Arguments, state: State) -> Any:
    """Compute a stateful function of x, (rows,), with what was learned of the rows to train on."""
    if name in ("center", "scale", "standardize"):
        x = x if state["center"] is None else x - state["center"]
        return x if state["scale"] is None else x / state["scale"]
    options = _options(name, arguments)
    if name == "poly":
        degree = options["degree"]
        if options["raw"]:
            powers = np.stack([np.power(x, k) for k in range(1, degree + 1)])
            return Columns(powers, list(range(degree)))
        basis = _orthogonal(x, state["alpha"], state["norms2"])
        norms = np.sqrt(np.array(state["norms2"][1:]))[:, None]
        return Columns(basis[1:] / norms, [str(k) for k in range(1, degree + 1)])
    return _spline_columns(name, x, options, state)


def _spline_columns(name: str, x: Floats, options: dict[str, Any], state: State) -> Columns:
    finite = np.isfinite(x)
    arrays = {k: np.array(v) if isinstance(v, list) else v for k, v in state.items()}
    arrays["knots"] = state["knots"]
    # `raise` is treated as `na`: rows beyond the knots get NaN.
    known = dict(options)
    if known.get("extrapolation", "raise" if name == "bs" else "extend") == "raise":
        known["extrapolation"] = "na"
    known.pop("knots", None)
    inner = np.where(finite, x, state["lower_bound"])
    columns = spline(name)(inner, **known, _state=arrays)
    fields = list(columns)
    values = np.stack([np.asarray(columns[k], float) for k in fields])
    values[:, ~finite] = np.nan
    return Columns(values, fields, bool(options.get("include_intercept", False)))


def _orthogonal(x: Floats, alpha: list[float], norms2: list[float]) -> Floats:
    """Return the monic polynomials, orthogonal on the rows to train on, (degrees + 1, rows)."""
    basis = [np.ones_like(x)]
    for k, shift in enumerate(alpha):
        following = (x - shift) * basis[k]
        if k:
            following -= norms2[k] / norms2[k - 1] * basis[k - 1]
        basis.append(following)
    return np.stack(basis)


@final
class StateLearner:
    """Learns the state of one call of a stateful function, in one pass over the rows or several.

    Sums are exact, so that the state has the same bits for any order of the rows. A spline whose
    knots are quantiles holds its column, 8 bytes a row, until the end of the pass.
    """

    def __init__(self, expression: Expression, node: ast.Call) -> None:
        self._expression, self._node = expression, node
        self._name = function_name(node)
        self.key = ast.unparse(node)
        self.options = _options(self._name, literals(expression, node))
        self.state: State = {}
        self.is_done = False
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._sums = [ExactSum(), ExactSum()]
        self._parts: list[Floats] = []
        self._range = [np.inf, -np.inf]
        self._column_sums: list[ExactSum] = []

    def add(self, columns: Any, states: dict[str, State]) -> None:
        """Take rows into account; values that are missing do not count."""
        with np.errstate(all="ignore"):
            x = self._expression.value(self._node.args[0], columns, states)
        x = x[np.isfinite(x)]
        if not len(x):
            return
        if self._name == "poly":
            square = (
                _orthogonal(x, self.state.get("alpha", []), self.state.get("norms2", []))[-1] ** 2
            )
            self._sums[0].add(square)
            self._sums[1].add(x * square)
        elif self._name in ("center", "scale", "standardize"):
            center = self.state.get("center")
            is_second_pass = "center" in self.state
            deviations = x - center if center is not None else x
            self._sums[0].add(deviations**2 if is_second_pass else x)
        elif "knots" in self.state:
            basis = _spline_columns(
                self._name, x, self._options_without_constraints(), self.state
            ).values
            self._column_sums = self._column_sums or [ExactSum() for _ in basis]
            for total, column in zip(self._column_sums, basis, strict=True):
                total.add(column)
        else:
            self._range = [min(self._range[0], x.min()), max(self._range[1], x.max())]
            is_unique = self._name != "bs"
            if self.options.get("df") is not None:
                self._parts.append(np.unique(x) if is_unique else x)

    def end_pass(self) -> None:
        """Learn from the rows of a pass; `is_done` says whether that was the last."""
        if self._name == "poly":
            self._end_polynomial()
        elif self._name in ("center", "scale", "standardize"):
            self._end_scale()
        elif "knots" in self.state:
            self.state["constraints"] = [[total.mean for total in self._column_sums]]
            self.is_done = True
        else:
            self._end_spline()
        self._begin_pass()

    def _end_scale(self) -> None:
        options, count = self.options, self._sums[0].count
        if not count:
            raise self._no_value()
        if "center" not in self.state:
            center = options["center"]
            is_learned = isinstance(center, bool) and center
            self.state["center"] = self._sums[0].mean if is_learned else center or None
            if options["scale"] is not True:
                self.state["scale"] = options["scale"] or None
                self.is_done = True
            return
        divisor = count - options["ddof"]
        scale = float(np.sqrt(self._sums[0].total / divisor)) if divisor > 0 else 0.0
        if scale == 0.0:
            raise InputError(f"formula: {self.key} has one value in all rows; leave it out")
        self.state["scale"], self.is_done = scale, True

    def _end_polynomial(self) -> None:
        degree, (squares, products) = self.options["degree"], self._sums
        if not squares.count:
            raise self._no_value()
        norms2 = self.state.setdefault("norms2", [])
        alpha = self.state.setdefault("alpha", [])
        norms2.append(squares.total)
        # Rounding leaves about 1e-32 of the square of a polynomial that is 0 in all rows.
        variance = norms2[min(1, len(alpha))] / norms2[0]
        if norms2[-1] <= 1e-24 * norms2[0] * variance ** len(alpha):
            text = f"formula: {self.key} needs more than {degree} different values, and the rows"
            raise InputError(f"{text} to train on have {len(alpha)}; lower its degree")
        self.is_done = len(alpha) == degree
        if not self.is_done:
            alpha.append(products.mean / squares.mean)

    def _end_spline(self) -> None:
        options = dict(self.options)
        if self._range[0] > self._range[1]:
            raise self._no_value()
        bounds = [float(v) for v in self._range]
        for k, name in enumerate(("lower_bound", "upper_bound")):
            if options.get(name) is not None:
                bounds[k] = float(options[name])
        df = options.pop("df", None)
        constraints = options.pop("constraints", None)
        if df is not None and options.get("knots") is None:
            options["knots"] = self._quantiles(df, bounds, constraints)
        try:
            options |= {"lower_bound": bounds[0], "upper_bound": bounds[1]}
            spline(self._name)(np.array(bounds), **options, _state=self.state)
        except (TypeError, ValueError) as error:
            raise InputError(f"formula: {self.key}: {error}; mend its arguments") from None
        self.state["knots"] = [float(knot) for knot in self.state["knots"]]
        if self._name != "bs":
            if constraints not in (None, "center"):
                self.state["constraints"] = np.atleast_2d(constraints).tolist()
            self.state["constraints"] = self.state.get("constraints")
        self.is_done = self._name == "bs" or constraints != "center"

    def _quantiles(self, df: int, bounds: list[float], constraints: Any) -> list[float]:
        """Return the inner knots: quantiles of the values, as formulaic chooses them."""
        options, values = self.options, np.concatenate(self._parts)
        is_cubic = self._name != "bs"
        if is_cubic or options.get("extrapolation") in ("clip", "na", "zero"):
            values = values[(values >= bounds[0]) & (values <= bounds[1])]
        if is_cubic:
            values = np.unique(values)
            count = df - 2 + (constraints is not None) + (self._name == "cc")
        else:
            degree = options.get("degree", 3)
            count = df - degree - bool(options.get("include_intercept", False))
        if count < 0:
            raise InputError(f"formula: {self.key}: df={df} is too small; raise df")
        knots: list[float] = np.quantile(values, np.linspace(0, 1, count + 2)[1:-1]).tolist()
        return knots

    def _options_without_constraints(self) -> dict[str, Any]:
        return {k: v for k, v in self.options.items() if k not in ("constraints", "df")}

    def _no_value(self) -> InputError:
        text = f"formula: {self.key} has no value in any row to train on"
        return InputError(f"{text}; leave it out")
