"""The answer, at the end of a fit, as coefficients.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar, final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.protocols import coefficient_rows, fit_statistics_of


@final
class CoefficientFile(Callback):
    """Writes `coefficients.json` into the run's folder when a fit has ended.

    The file holds `{"model", "rows", "targets", "coefficients": [{"target", "name", "estimate",
    ...}], "fit": {"r2", "rmse", ...}}`; its numbers read back to the same float64, and what is not
    a finite number is null. It is written whole or not at all.

    A model without `coefficients()` and `fit_statistics` is left alone.
    """

    content: ClassVar[str] = "coefficients"
    path: Path | None = None
    """The file, once it has been written."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, on one process."""
        folder = trainer.log_dir  # on all processes: it is the first one's
        if folder is None or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        if coefficient_rows(pl_module) and fit_statistics_of(pl_module):
            self.path = Path(folder) / "coefficients.json"
            _write(self.path, report(pl_module))


def report(model: Any) -> dict[str, Any]:
    """What coefficients.json holds of a fitted RegressionModule."""
    fit = dict(model.fit_statistics)
    return {
        "model": type(model).__name__,
        "rows": fit.pop("rows", None),
        "targets": model.target_names,
        "coefficients": _finite(model.coefficients()),
        "fit": _finite(fit),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(
        json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    unfinished.replace(path)
