"""What the columns of a table are: learned from its rows to train on, or from a checkpoint."""

import re
from collections.abc import Mapping
from typing import Any, final

from linreg_lightning.batch import significant_bits
from linreg_lightning.data.base import Split
from linreg_lightning.data.table_arguments import as_list
from linreg_lightning.data.table_sources import TableSources
from linreg_lightning.design_matrix.added_levels import add_levels
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.fit_design import fit_design
from linreg_lightning.design_matrix.formula_fit import fit_formula, formula_roles
from linreg_lightning.design_matrix.formula_terms import Formula
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import ExtendsColumns, LinearModel, TakesIntercept


@final
class TableDesign:
    """The design of a table, once it is known, and the roles of its columns.

    Args:
        sources: the tables.
        arguments: all arguments of `TabularData`; its `design` is that of a checkpoint.

    Raises:
        InputError: a `design` that comes from no checkpoint, or with another kind of target.
    """

    def __init__(self, sources: TableSources, arguments: Mapping[str, Any]) -> None:
        self._sources, self._arguments = sources, arguments
        self._others = arguments["weight"], arguments["by"]
        self._keys: dict[str, Any] = {
            "group": arguments["group"],
            "clusters": tuple(as_list(arguments["cluster"])),
            "absorbed": tuple(as_list(arguments["absorb"])),
        }
        self._has_classes = bool(arguments["classes"])
        self.has_earlier_rows = arguments["design"] is not None
        """Whether a checkpoint has brought the design, which was fitted to its rows."""
        self.design = Design.from_state(arguments["design"]) if self.has_earlier_rows else None
        self._formula = self._read_formula(arguments["formula"])
        if self.design is not None and bool(self.design.classes) != self._has_classes:
            kind = "classes" if self.design.classes else "numbers"
            value = str(self._has_classes).lower()
            reason = f"{value} was given, but the target of the checkpoint holds {kind}"
            raise InputError(f"classes: {reason}; leave classes out")

    def _read_formula(self, text: str | None) -> Formula | None:
        """Return the formula; None without one, or if a checkpoint has brought what it says."""
        if text is None or self.design is not None:
            return None
        # Only a dot, which stands for the other columns, needs the table now.
        has_dot = re.search(r"(?<![\w.)`])\.(?![\w.])", text)
        columns = self._sources.table().schema.names if has_dot else []
        key_names = [*self._others, *self._keys["absorbed"], *self._keys["clusters"]]
        target, _, _ = text.partition("~")
        columns = [name for name in columns if name not in key_names]
        columns = [name for name in columns if not re.search(rf"\b{re.escape(name)}\b", target)]
        return Formula.parse(text, columns)

    @property
    def target_names(self) -> list[str]:
        """The columns of y; those of a formula may be functions of columns of the table."""
        if self._formula is not None:
            return self._formula.targets
        if self.design is not None and self.design.formula:
            return list(self.design.formula["target_names"])
        return as_list(self._arguments["target"])

    def _target_columns(self) -> list[str]:
        if self.design is not None and self.design.formula_matrix is not None:
            return self.design.formula_matrix.target_columns
        return as_list(self._arguments["target"])

    def fit(self, model: Any) -> Design:
        """Return the checkpoint's design, or fit one to the rows to train on, once, for a model."""
        if self.design is None and self._formula is not None:
            # Effects contain the constant; what the formula says of it decides the other terms.
            if isinstance(model, TakesIntercept) and not self._keys["absorbed"]:
                model.set_intercept(self._formula.constant)
            has_choice = isinstance(model, LinearModel) and model.fit_intercept is not None
            constant = model.fit_intercept if has_choice else self._formula.constant
            _, missing, max_levels = self._options()
            options = missing, max_levels, constant
            roles = self.roles("train")
            self.design = fit_formula(self._formula, self._sources.subset("train"), roles, *options)
            self._sources.refuse_unused_options()
        if self.design is None:
            constant = not isinstance(model, LinearModel) or model.fit_intercept is not False
            roles = self.roles("train")
            constant = constant or "intercept" in roles.features
            if self._arguments["features"] is None:
                exclude = as_list(self._arguments["exclude"])
                self._sources.warn_of_nameless_columns(roles, exclude)
            declared, missing, max_levels = self._options()
            arguments = declared, missing, max_levels, constant, self._arguments["dates"]
            self.design = fit_design(self._sources.subset("train"), roles, *arguments)
            self._sources.refuse_unused_options()
            self._sources.warn_of_codes_and_dates(roles)
        return self.design

    def feature_bits(self) -> list[int]:
        """Return the significant bits of each column of x in the files."""
        schema, design = self._sources.table().schema, self.design
        pairs = [] if design is None else zip(design.names, design.sources, strict=True)
        return [
            53
            if self._arguments["formula"] and name != source  # a function of the column
            else significant_bits(schema.field(source).type)
            for name, source in pairs
        ]

    def may_extend(self, model: Any) -> bool:
        """Whether these are rows to add to a fit that takes more columns of x."""
        extends = isinstance(model, ExtendsColumns) and model.extends_columns
        return self.has_earlier_rows and extends

    def add_levels(self) -> None:
        """Add the levels that only the rows to train on have to the design of earlier rows."""
        assert self.design is not None
        subset, roles = self._sources.subset("train"), self.roles("train")
        self.design = add_levels(self.design, subset, roles, *self._options())

    def roles(self, split: Split) -> ColumnRoles:
        """Return what each column of a split is for."""
        if self._formula is not None and self.design is None:
            roles = formula_roles(self._formula, self._sources.table(), *self._others)
            self._check_keys(roles)
            roles = roles._replace(**self._keys)
        elif self.design is None:
            given = self._arguments
            exclude, categorical = as_list(given["exclude"]), as_list(given["categorical"])
            features = None if given["features"] is None else as_list(given["features"])
            names = features, exclude, categorical, self._target_columns()
            options = *self._others, given["dates"], self._has_classes
            roles = ColumnRoles.assign(self._sources.table(), *names, *options, **self._keys)
        else:
            if self._arguments["missing"] == "mean":
                self.design.check_means()
            features, levels = self.design.features, list(self.design.levels)
            others = *self._others, self.design.date_types(), self._has_classes
            roles = ColumnRoles(features, levels, self._target_columns(), *others, **self._keys)
        if split != "train":
            roles = roles.without_keys()
        if split == "predict":
            return roles._replace(targets=[], weight=None, by=None, has_classes=False)
        return roles

    def _check_keys(self, roles: ColumnRoles) -> None:
        """Refuse columns of keys that a formula has a use for: targets, and effects as terms."""
        taken = {"absorb": [*roles.features, *roles.targets], "cluster": roles.targets}
        for argument, names in taken.items():
            for name in as_list(self._arguments[argument]):
                if name in names:
                    text = f"{argument}: {name!r} is in the formula too"
                    raise InputError(f"{text}; leave it out there, or name another column")

    def _options(self) -> tuple[list[str], Any, int]:
        arguments = self._arguments
        return as_list(arguments["categorical"]), arguments["missing"], arguments["max_levels"]
