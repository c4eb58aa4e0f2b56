"""Ridge, the lasso and the elastic net under the Trainer: one pass, and all penalties compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from linreg_lightning.algebra.fit_table import as_rows
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.algebra.gram_state import GramState
from linreg_lightning.algebra.least_squares import Accuracy, check_arguments
from linreg_lightning.algebra.notes import Note
from linreg_lightning.algebra.prediction import predict_mean
from linreg_lightning.algebra.selection import select
from linreg_lightning.algebra.selection_options import (
    Choice,
    PenaltyKind,
    SelectionOptions,
    check_columns,
    column_list,
    column_places,
)
from linreg_lightning.algebra.selection_result import Selection
from linreg_lightning.batch import FoldBatch
from linreg_lightning.errors import InputError
from linreg_lightning.models.batches import as_batch
from linreg_lightning.models.one_pass import OnePassModule
from linreg_lightning.models.regression import Coefficient
from linreg_lightning.models.selection_progress import selection_progress
from linreg_lightning.text_table import Report


@final
class RegularizedLeastSquares(OnePassModule):
    """Least squares with the penalty that best predicts rows outside the fit.

    With W the sum of the weights and s_j the standard deviation of column j, it minimises

        1/(2W) sum w (y - intercept - x b)^2
            + alpha sum_j (l1_ratio |s_j b_j| + (1 - l1_ratio)/2 (s_j b_j)^2)

    for each alpha, for all rows and without each fold, and takes the alpha that `choice` says. One
    pass adds up a small matrix for each fold, whatever the number of rows; everything else follows
    from these. A row's fold comes from a hash of its number or, where the data have `group`, from
    its group: up to 1,024 groups are dealt out to the folds in turn, more of them by a hash. It is
    the same for any batch size or number of processes. A fit with `ckpt_path` adds its rows to the
    folds of the checkpoint, in which groups keep their folds, and chooses again over all rows.

    Args:
        penalty: `ridge` (l1_ratio 0), `lasso` (l1_ratio 1) or `elasticnet`.
        l1_ratio: of the elastic net, above 0 and up to 1, or a list of these, of which the one with
            the least error is taken; None means 0.5.
        alphas: how many, at least 2, from the smallest alpha that leaves out all columns down to
            0.0001 of it (0.01 unless there are more rows than columns), of ridge from that of
            l1_ratio 0.001 down to 1e-7 of it (1e-5); or the values, above 0 and decreasing.
        folds: how many parts the rows are divided into, from 2 to 255.
        blocks: whether each fold is a block of consecutive rows, as for rows in the order of time;
            added rows are divided into blocks by themselves.
        fold_seed: another seed puts the rows into other folds.
        choice: `min`, the alpha with the least mean error of the folds; `one_standard_error`, the
            largest alpha whose error is within one standard error of that; or the alpha with the
            least `aic`, `bic`, `cp` (Mallows) or `gcv` (generalised cross-validation).
        standardize: whether the penalty is on b_j times the standard deviation; if not, on b_j.
        unpenalized: columns without a penalty, by name; the name of a column of categories stands
            for all its levels.
        nested: whether to choose without each fold too, which tells the error of the choice.
        refit: whether to fit the columns chosen without a penalty. The p of these fits are too
            small, because the same rows have chosen the columns.
        accuracy: see `LeastSquares`; with `exact`, the result has the same bits for any batch size,
            order of rows or number of processes.
        intercept: whether the model adds a constant, without a penalty; None means yes, unless the
            data have a column of ones named `intercept`.
        confidence: how often the intervals of a refit cover the truth, between 0.000001 and 1.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y, each with a choice of its own; None takes it from
            the data.

    Raises:
        InputError: a hyper-parameter outside its range; when fitting, a fold without rows.

    >>> from linreg_lightning import TensorData, Trainer
    >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> model = RegularizedLeastSquares(choice="one_standard_error")
    >>> Trainer(max_epochs=1, barebones=True).fit(model, TensorData(x, x[:, 0]))
    >>> [row["estimate"] > 0.9 for row in model.coefficients()[1:]]
    [True, False, False]
    """

    # A fit that goes on from a checkpoint may change these arguments.
    revisable: ClassVar[frozenset[str]] = frozenset(
        {"penalty", "l1_ratio", "alphas", "choice", "standardize", "unpenalized", "nested"}
        | {"refit", "accuracy", "confidence"}
    )

    def __init__(
        self,
        penalty: PenaltyKind = "lasso",
        l1_ratio: float | list[float] | None = None,
        alphas: int | list[float] = 100,
        folds: int = 10,
        blocks: bool = False,
        fold_seed: int = 0,
        choice: Choice = "min",
        standardize: bool = True,
        unpenalized: str | list[str] | None = None,
        nested: bool = False,
        refit: bool = False,
        accuracy: Accuracy = "auto",
        intercept: bool | None = None,
        confidence: float = 0.95,
        in_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        check_arguments(accuracy, 0.0, confidence)
        self.options = SelectionOptions(
            penalty, l1_ratio, alphas, choice, standardize, nested=nested, refit=refit
        )
        self.fold_rule = FoldRule(folds, fold_seed, blocks)
        super().__init__(accuracy, intercept, in_features, out_features)
        # A checkpoint has no arrays, nor numbers of NumPy.
        plain: Any = self.options
        l1_ratio, alphas = plain.l1_ratio, plain.alphas
        folds, fold_seed = int(folds), int(fold_seed)
        names: Any = column_list(unpenalized)
        self.unpenalized, self.confidence = names, confidence
        unpenalized = names or None
        self.save_hyperparameters()
        self.selection: Selection | None = None
        self._without_groups = False  # whether a checkpoint has brought rows, none with a group
        self._next_row = 0  # the number of the next row, for a loader that gives no folds

    def coefficients(self) -> list[Coefficient]:
        """The table: `estimate` and, except for ridge, `in_folds` and `enters_at`.

        `in_folds` is the share of the folds in which a coefficient is not 0 at the choice, and
        `enters_at` the largest alpha at which it is not 0. After a refit, `estimate` is that of
        the refit, beside `std_error`, `t`, `p`, `ci_low`, `ci_high` and `penalized`, the estimate
        with the penalty. Numbers that are not known are NaN. Before a fit: an InputError.
        """
        table = self._selected("coefficients").table(self._variable_names, self.target_names)
        numbers = {(row.pop("target"), row.pop("term")): row for row in as_rows(table)}
        rows = super().coefficients()
        for row in rows:
            row.update(numbers[row["target"], row["name"]])
        return rows

    @property
    def fitted(self) -> bool:
        """Whether there are coefficients."""
        return self.selection is not None or self._sums.fitted_gram is not None

    can_predict = fitted

    def setup(self, stage: str) -> None:
        """As in `OnePassModule`; refuse names of columns that the data lack."""
        super().setup(stage)
        self.r2_uncentered = not self._has_constant
        if stage == "fit":
            check_columns(self._named_options(), len(self._variable_names))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {"next_row": self._next_row, "fold_groups": self.fold_rule.groups}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As in `OnePassModule`, with what decides the folds of the next rows."""
        super().on_load_checkpoint(checkpoint)
        self._next_row = checkpoint["next_row"]
        partial = self._sums.current
        has_rows = self._sums.fitted_gram is not None or bool(partial and partial.row_count)
        self._without_groups = has_rows and checkpoint["fold_groups"] is None
        self.fold_rule = replace(self.fold_rule, groups=checkpoint["fold_groups"])

    def _make_sums(self) -> GramState[Any]:
        return GramState(self.accuracy, self.fold_rule.folds)

    def _start_sums(self) -> None:
        """As in `OnePassModule`; refuse groups whose earlier rows may be in any fold."""
        if self._without_groups and self.fold_rule.groups is not None:
            raise InputError(
                "group: it was given, and the rows of the checkpoint are in folds without regard "
                "to groups; leave it out, or fit all rows anew without ckpt_path"
            )
        super()._start_sums()

    def _begin_pass(self, second: bool = False) -> None:
        super()._begin_pass(second)
        self._next_row = 0

    def _folds(self, batch: Any) -> Tensor:
        """Return the fold of each row: the data's, or by the rows' numbers in this pass."""
        if isinstance(batch, FoldBatch):
            return batch.validate_rows().fold
        rows, start, name = as_batch(batch).rows, self._next_row, type(self).__name__
        if self.trainer.world_size > 1:
            raise InputError(
                f"devices: {self.trainer.world_size} processes were started, and the loader does "
                "not say which fold each row is in; give the Trainer devices=1, or a data module "
                "of this package"
            )
        if self.fold_rule.blocks:
            raise InputError(
                "blocks: True was given, and the loader does not say which block each row is in; "
                f"give {name} blocks=False, or the Trainer a data module of this package"
            )
        self._next_row += rows
        return self.fold_rule.of_rows(start, start + rows, 0).to(batch[0].device)

    def _solve(self, total: FoldSums) -> bool:
        options = self._named_options()
        with selection_progress(self._trainer) as progress:
            selection = select(
                total,
                options,
                intercept=self._has_constant,
                confidence=self.confidence,
                progress=progress,
            )
        selection = selection.with_names(self._variable_names, self.target_names)
        self.selection, self.fit_statistics = selection, dict(selection.statistics)
        self.r2_uncentered = not self._has_constant
        if selection.refits:
            self._take_refit(selection)
        else:
            coefficients, intercept = selection.coefficients.T, selection.intercept
            self.set_fit(coefficients, intercept, selection.center, selection.level)
        return selection.precise

    def _take_refit(self, selection: Selection) -> None:
        """Take coefficients and measures of fit from the refits of the columns chosen."""
        weight = torch.zeros_like(selection.coefficients.T)
        level = selection.level.clone()
        for target, fit in enumerate(selection.refits):
            columns = selection.nonzero_columns(target)
            weight[target, columns] = fit.coefficients[:, 0].nan_to_num(0.0)
            level[target] = predict_mean(fit.solution, selection.center[None, columns])[0, 0]
        intercept = torch.cat([fit.intercept for fit in selection.refits])
        self.set_fit(weight, intercept, selection.center, level)
        measures = [fit.statistics for fit in selection.refits]
        for name in ("r2", "rmse"):
            values = [each[name] for each in measures]
            self.fit_statistics[name] = values if len(values) > 1 else values[0]
        self.fit_statistics["loss"] = sum(each["loss"] for each in measures) / len(measures)

    def _solves_again(self, checkpoint: dict[str, Any]) -> bool:
        """Whether arguments have changed, or there is no Trainer, which would need weights only."""
        written = checkpoint.get("hyper_parameters", {})
        changed = any(self.hparams[name] != written.get(name) for name in self.revisable)
        return changed or self._trainer is None

    def _forget(self) -> None:
        self.selection, self._without_groups = None, False

    def _notes(self) -> list[Note]:
        return self._selected("notes").notes()

    def _report(self) -> Report:
        selection = self._selected("summary")
        rows = [{"term": row.pop("name"), **row} for row in self.coefficients()]
        return selection.report(
            self._title(),
            self._variable_names,
            self.target_names,
            self._base_levels(),
            self.fit_statistics,
            rows,
        )

    def _selected(self, what: str) -> Selection:
        """Return the selection, made now if a checkpoint has brought only its sums."""
        self._refuse_unfitted(what)
        total: Any = self._sums.fitted_gram
        if self.selection is None:
            self._solve(total)
        assert self.selection is not None
        return self.selection

    def _named_options(self) -> SelectionOptions:
        """Return the options, with the places of the columns without a penalty."""
        design = None if self.frame_reader is None else self.frame_reader.design
        source = {} if design is None else dict(zip(design.names, design.sources, strict=True))
        names, columns = self._variable_names, []
        for name in self.unpenalized:
            columns += [each for each in names if name in (each, source.get(each))] or [name]
        return replace(self.options, unpenalized=column_places(columns, names))
