"""The table of coefficients of a `RegressionModule`: for people, and as a data frame."""

from abc import abstractmethod
from typing import Any

from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    equation,
    one_line,
)
from linreg_lightning.design_matrix.design import CategoryTerm
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.models.supervised import SupervisedModule
from linreg_lightning.text_table import Report


class ModelTable(CoefficientTable, SupervisedModule):
    """A model with a summary, a `repr` and a frame of its `coefficients()`."""

    frame_reader: FrameReader | None = None
    """How the data of the fit make x from a table; None where they hold x itself."""
    confidence: float = 0.95
    """How often the intervals cover the truth, of a model that has intervals."""
    ridge: float = 0.0
    """The ridge penalty, of a model that has one."""
    _fit_has_begun: bool = False

    @abstractmethod
    def coefficients(self) -> list[dict[str, Any]]:
        """The table, a row for each target and term; before a fit: an InputError."""

    @property
    def fitted(self) -> bool:
        """Whether a fit, or a checkpoint, has set the coefficients; before, they are random."""
        return self._fit_has_begun and bool(self.columns)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._fit_has_begun |= stage == "fit"

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._fit_has_begun = True

    def __repr__(self) -> str:
        """Say in a line what was fitted, and how well."""
        if not self.fitted:
            return f"<{type(self).__name__}: not fitted>"
        return one_line(self._equation(), self.fit_statistics)

    def _equation(self) -> str:
        reader = self.frame_reader
        names = self.feature_names if reader is None else reader.design.features
        features = [name for name in names if name != "intercept"]
        return equation(type(self).__name__, self.target_names, features)

    def _base_levels(self) -> dict[str, str]:
        """Return, for each column of categories, the level that the others are compared to."""
        terms = [] if self.frame_reader is None else self.frame_reader.design.terms
        return {
            term.column: term.levels[0]
            for term in terms
            if isinstance(term, CategoryTerm) and term.first == 1
        }

    def _report(self) -> Report:
        rows = self.coefficients()
        return coefficient_report(
            self._equation(),
            rows,
            self.fit_statistics,
            confidence=self.confidence,
            ridge=self.ridge,
            base_levels=self._base_levels(),
        )

    def _frame_columns(self) -> dict[str, list[Any]]:
        rows = self.coefficients()
        names = dict.fromkeys(name for row in rows for name in row)  # `true` may be known of some
        return {
            "term" if name == "name" else name: [row.get(name) for row in rows] for name in names
        }
