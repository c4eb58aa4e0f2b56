"""`ModelTable` shows the coefficients of a `RegressionModule` as a summary and a data frame."""

from abc import abstractmethod
from typing import Any

from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    fit_repr,
    fit_title,
)
from linreg_lightning.models.table import TableModule
from linreg_lightning.text_table import Report


class ModelTable(CoefficientTable, TableModule):
    """A model with a summary, a `repr` and a frame of its `coefficients()`."""

    confidence: float = 0.95
    """How often the intervals cover the true coefficient, in a model that has intervals."""
    ridge: float = 0.0
    """The ridge penalty; 0 in a model without one."""

    @abstractmethod
    def coefficients(self) -> list[dict[str, Any]]:
        """The table, a row for each target and term; before a fit: an InputError."""

    @property
    def fitted(self) -> bool:
        """Whether a fit or a checkpoint has set the coefficients, which are random until then."""
        return self._has_fitted_parameters and bool(self.columns)

    def __repr__(self) -> str:
        """Return one line that says what was fitted, and how well."""
        if not self.fitted:
            return f"<{type(self).__name__}: not fitted>"
        return fit_repr(self._title(), self.fit_statistics)

    def _title(self) -> str:
        reader = self.frame_reader
        names = self.feature_names if reader is None else reader.design.features
        features = [name for name in names if name != "intercept"]
        return fit_title(type(self).__name__, self.target_names, features)

    def _base_levels(self) -> dict[str, str]:
        """Return, for each column of categories or dates, what the others are compared to."""
        terms = [] if self.frame_reader is None else self.frame_reader.design.terms
        return {term.column: term.base for term in terms if term.base is not None}

    def _report(self) -> Report:
        rows = self.coefficients()
        return coefficient_report(
            self._title(),
            rows,
            self.fit_statistics,
            confidence=self.confidence,
            ridge=self.ridge,
            base_levels=self._base_levels(),
            notes=self._table_notes(),
        )

    def _table_notes(self) -> list[list[str]]:
        """Return what the report says below the table, a list of phrases for each paragraph."""
        return []

    def _frame_columns(self) -> dict[str, list[Any]]:
        rows = self.coefficients()
        names = dict.fromkeys(name for row in rows for name in row)  # some rows may lack `true`
        return {
            "term" if name == "name" else name: [row.get(name) for row in rows] for name in names
        }
