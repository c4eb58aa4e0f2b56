"""What data modules, models and callbacks may ask of each other.

Data modules and models never import each other, and both may come from outside this package:
`isinstance(data, NamedColumns)` asks whether a class has what a protocol names.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class NamedColumns(Protocol):
    """Data, or a model, that name the columns of x and y; a column of ones is named `intercept`."""

    feature_names: list[str]
    target_names: list[str]


@runtime_checkable
class ColumnPrecision(Protocol):
    """Data that know how precise each column of x was where they come from."""

    def feature_bits(self) -> list[int]:
        """Return the significant bits of each column's type: 53 for float64, 24 for float32."""


@runtime_checkable
class StartsAnew(Protocol):
    """A loader that knows whether it starts a pass over other rows than the interrupted one."""

    starts_anew: bool


@runtime_checkable
class KeptArguments(Protocol):
    """Data whose arguments a checkpoint keeps; the one named `design` computes x from a table."""

    hparams: Any


@runtime_checkable
class TrueCoefficients(Protocol):
    """Data that may know the coefficients they were made from: target to name to value, or None."""

    true_coefficients: dict[str, dict[str, float]] | None


@runtime_checkable
class NamedClasses(Protocol):
    """Data, or a model, whose y is the number of a class; without classes the list is empty."""

    class_names: list[str]


@runtime_checkable
class DrawsFigures(Protocol):
    """A model that draws the pictures of its task."""

    def figures(self, x: Any, y: Any, prediction: Any, caption: str) -> dict[str, Any]:
        """Return matplotlib Figures by name, of a sample of rows and their predictions.

        These are what `predict_step` returns: without one of the model's own, what `forward` does.
        """


@runtime_checkable
class NamesPredictions(Protocol):
    """A model that says which columns the file of predictions gets."""

    def prediction_columns(self, prediction: Any) -> dict[str, Any]:
        """Return columns by name, each a tensor or a list of texts, (rows,).

        The predictions are what `predict_step` returns for a batch.
        """


@runtime_checkable
class KeepsColumns(Protocol):
    """Data that can hand columns of the input on to the file of predictions."""

    def keep(self, columns: Sequence[str]) -> None:
        """Put these columns into each batch to predict (`KeptBatch`)."""


@runtime_checkable
class OrderedPredictions(Protocol):
    """Data that say whether several processes predict consecutive rows, in the order of ranks."""

    predicts_in_order: bool


@runtime_checkable
class ReadsInChunks(Protocol):
    """A loader that can hand out the rows of an epoch in larger parts than its batches."""

    def chunks(self, batches: int | float) -> Iterator[Any]:
        """Yield the rows of the first `batches` batches; the loader keeps its place."""


@runtime_checkable
class RowGroups(Protocol):
    """Data that may divide the rows to train on into groups, each to be fitted by itself."""

    def row_groups(self) -> tuple[list[str], Any] | None:
        """Return the names of the groups, and the number of each row's, (rows,); None: no groups.

        The rows are in the order in which a model of a single pass receives them.
        """


@runtime_checkable
class GroupTable(Protocol):
    """A model that fits each group of rows by itself, where the data have groups."""

    def group_table(self) -> dict[str, list[Any]] | None:
        """Return the columns of the table of all groups by name; None without groups."""


@runtime_checkable
class HasKeys(Protocol):
    """Data whose rows to train on carry the clusters and levels that they are in, as `KeyBatch`.

    The lists name the columns of the keys, clusters first; without any, batches are `Batch`.
    """

    cluster_names: list[str]
    absorbed_names: list[str]


@runtime_checkable
class DescribesErrors(Protocol):
    """A model that says which standard errors its table has."""

    def error_description(self) -> dict[str, Any]:
        """Return `errors`, `clusters`, `lags` and `small_sample`; empty for classical errors."""


@runtime_checkable
class TakesKeys(Protocol):
    """A model that uses the clusters and the levels to absorb of the rows that it is fitted to."""

    def set_keys(self, clusters: Sequence[str], absorbed: Sequence[str]) -> None:
        """Take the columns of `HasKeys`; an InputError refuses those that it does not use."""


@runtime_checkable
class ColumnModel(NamedColumns, Protocol):
    """A model that takes its columns, and their names, from the data."""

    def set_columns(self, features: Sequence[str], targets: Sequence[str]) -> None:
        """Make parameters for these columns, or check that they are the model's."""


@runtime_checkable
class SinglePass(Protocol):
    """A model that says whether one pass over the rows is its whole fit."""

    one_pass: bool


@runtime_checkable
class AssignsFolds(Protocol):
    """A model that asks for training batches with the fold of each row, `FoldBatch`.

    `fold_rule` is an `algebra.folds.FoldRule`; None: batches without folds. The model sets it when
    it is made, because the data read it before they call the model. Once the data know the groups
    of the rows, they replace it by a rule with these `groups`, which checkpoints have to keep.
    """

    fold_rule: Any


@runtime_checkable
class ExtendsColumns(Protocol):
    """A model that says whether a fit that goes on from a checkpoint takes more columns of x."""

    extends_columns: bool


@runtime_checkable
class ChecksValues(Protocol):
    """A model that says whether its fit refuses NaN and infinity by column and row."""

    checks_values: bool


@runtime_checkable
class LinearModel(Protocol):
    """A model that says whether it adds a constant; None means yes, unless x has one already."""

    fit_intercept: bool | None


@runtime_checkable
class TakesIntercept(Protocol):
    """A model that a formula can tell whether to add a constant."""

    def set_intercept(self, intercept: bool) -> None:
        """Add a constant, or none, unless the user has decided it."""


@runtime_checkable
class Fitted(Protocol):
    """A model that says whether it has been fitted, so that there are estimates to show."""

    fitted: bool


@runtime_checkable
class IntervalModel(Protocol):
    """A model that predicts with standard errors and intervals."""

    def prediction(self, x: Any) -> Any:
        """Return an `algebra.Prediction` of rows x."""


@runtime_checkable
class HasSelection(Protocol):
    """A model that chooses a penalty; `selection` is an `algebra.Selection`, None before a fit."""

    selection: Any | None


@runtime_checkable
class WritesFile(Protocol):
    """A callback whose file the command lists at its end, as `file_label  path`."""

    file_label: str
    path: Path | None


def feature_bits_of(data: object, without: int | None = None) -> list[int] | None:
    """Return the bits of each column of x but one; None where all are float64, or unknown."""
    if not isinstance(data, ColumnPrecision):
        return None
    columns = [bits for j, bits in enumerate(data.feature_bits()) if j != without]
    return columns if min(columns, default=53) < 53 else None


def is_single_pass(model: object) -> bool:
    """Whether one pass over the rows is the model's whole fit."""
    return isinstance(model, SinglePass) and model.one_pass


def selection_of(model: object) -> Any | None:
    """Return the model's `selection`; None where it has none, or has not been fitted."""
    return model.selection if isinstance(model, HasSelection) else None


def coefficient_rows(model: object) -> list[dict[str, Any]]:
    """Return the rows of the model's `coefficients()`; none without such a table or before a fit.

    >>> coefficient_rows(object())
    []
    """
    method = getattr(model, "coefficients", None)
    if not inspect.ismethod(method) or inspect.signature(method).parameters:
        return []
    if isinstance(model, Fitted) and not model.fitted:
        return []
    rows, keys = method(), {"target", "name", "estimate"}
    if not isinstance(rows, list):
        return []
    return rows if all(isinstance(r, dict) and r.keys() >= keys for r in rows) else []


def prediction_columns_of(model: object, prediction: Any) -> dict[str, Any] | None:
    """Return the model's `prediction_columns`; None where it has none.

    Rows of a tensor, (rows, ...), that hold NaN have missing values. Else their class would be the
    first one that is NaN, because torch's argmax takes NaN for the largest.
    """
    columns = model.prediction_columns(prediction) if isinstance(model, NamesPredictions) else None
    if not columns or not hasattr(prediction, "isnan") or not prediction.isnan().any():
        return columns
    absent = prediction.isnan().reshape(len(prediction), -1).any(dim=1).tolist()
    answer: dict[str, Any] = {}
    for name, values in columns.items():
        shape = (len(values),) if isinstance(values, list) else tuple(values.shape)
        if shape != (len(absent),):
            answer[name] = values  # whoever uses it refuses it
        elif isinstance(values, list):
            pairs = zip(values, absent, strict=True)
            answer[name] = [None if is_absent else value for value, is_absent in pairs]
        else:
            answer[name] = values if values.is_floating_point() else values.double()
            answer[name] = answer[name].masked_fill(values.new_tensor(absent).bool(), math.nan)
    return answer


def fit_statistics_of(model: object) -> dict[str, Any]:
    """Return the model's `fit_statistics`, name to value; none where it has none."""
    statistics = getattr(model, "fit_statistics", None)
    return statistics if isinstance(statistics, dict) else {}
