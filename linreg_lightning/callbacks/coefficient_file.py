"""The result of a fit as coefficients.json, of groups as groups.csv."""

import json
from pathlib import Path
from typing import Any, ClassVar, final

from lightning.pytorch import Callback, LightningModule

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.protocols import (
    DescribesErrors,
    GroupTable,
    coefficient_rows,
    fit_statistics_of,
)
from linreg_lightning.tables.prediction_file import write_csv


@final
class CoefficientFile(Callback):
    """Writes `coefficients.json` into the run's folder at the end of a fit, whole or not at all.

    The file holds `{"model", "rows", "targets", "coefficients": [{"target", "name", "estimate",
    ...}], "fit": {"r2", "rmse", ...}}`; `fit` has `"r2_uncentered": true` where the model has no
    constant, so that r2 compares to y itself. Its numbers read back to the same float64; NaN and
    infinity are null. Robust standard errors add their kind, `errors`, the number of `clusters`,
    `lags` and `small_sample`. A model without `coefficients()` or `fit_statistics` gets no file. A
    fit of groups gets `groups.csv` instead, with a row for each group and term; there NaN is empty.
    """

    file_label: ClassVar[str] = "coefficients"
    path: Path | None = None  # the file, once it is written

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        # All processes need `log_dir`, which the first one broadcasts. Some loggers have no folder.
        folder = trainer.log_dir or trainer.default_root_dir
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        groups = pl_module.group_table() if isinstance(pl_module, GroupTable) else None
        if groups is not None:
            self.path = Path(folder) / "groups.csv"
            with atomic_path(self.path) as unfinished:
                write_csv(unfinished, groups)
        elif coefficient_rows(pl_module) and fit_statistics_of(pl_module):
            path = Path(folder) / "coefficients.json"
            text = json.dumps(report(pl_module), indent=2, ensure_ascii=False) + "\n"
            with atomic_path(path) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
            self.path = path


def report(model: Any) -> dict[str, Any]:
    """Return the content of coefficients.json for a fitted RegressionModule."""
    fit = dict(model.fit_statistics)
    fit |= model.error_description() if isinstance(model, DescribesErrors) else {}
    content = {
        "model": type(model).__name__,
        "rows": fit.pop("rows", None),
        "targets": model.target_names,
        "coefficients": model.coefficients(),
        "fit": fit,
    }
    # NaN and infinity, which JSON does not have, are read back as null.
    return dict(json.loads(json.dumps(content), parse_constant=lambda _: None))
