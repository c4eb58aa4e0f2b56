"""The path of a chosen penalty, as path.json and as curves in TensorBoard."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar, final

from lightning.pytorch import Callback, LightningModule

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.callbacks.tensorboard import tensorboard_writers
from linreg_lightning.protocols import selection_of


@final
class PenaltyPath(Callback):
    """Writes `path.json` at the end of a fit that chose a penalty, and its errors as curves.

    The file is written whole or not at all into the run's folder. It holds

        {"model", "penalty", "choice", "standardize", "rows", "folds": [rows of each fold],
         "targets": [{"target",
           "chosen": {"l1_ratio", "alpha", "number", "mean_error", "standard_error", "nonzero",
                      "intercept", "coefficients": {name: number}},
           "min": {...}, "one_standard_error": {...},
           "paths": [{"l1_ratio", "alphas": [...], "mean_error", "standard_error",
                      "fold_errors": [[...] of each fold], "degrees_of_freedom", "nonzero",
                      "aic", "bic", "cp", "gcv", "intercept", "coefficients": {name: [...]}}]}]}

    There is a path for each l1_ratio, whose lists have a number for each alpha; `number` is a place
    in these lists, from 0. `fold_errors` are the mean squared errors of the rows of each fold, held
    out, and `mean_error` is their mean over the folds. Coefficients are those of all rows, in the
    user's units, with the penalty. A nested choice adds `nested_error` and `nested_standard_error`
    to each target. Numbers read back to the same float64; NaN and infinity are null. Paths of more
    than a million coefficients in all come without them, and `"note"` says so; the choices keep
    theirs.

    TensorBoard gets `path/mean_error`, `path/low` and `path/high`, one standard error below and
    above it, and `path/alpha`, of the l1_ratio chosen; the step is the number of the alpha. With
    several targets the names end in `/<target>`. Other loggers get no curves, because some refuse
    steps that do not grow. A model without a `selection` is ignored.
    """

    file_label: ClassVar[str] = "path"
    path: Path | None = None  # the file, once it is written

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        # All processes need `log_dir`, which the first one broadcasts. Some loggers have no folder.
        folder = trainer.log_dir or trainer.default_root_dir
        selection = selection_of(pl_module)
        if selection is None or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        path = Path(folder) / "path.json"
        content = {"model": type(pl_module).__name__, **selection.to_json()}
        with atomic_path(path) as unfinished:
            unfinished.write_text(json_text(content) + "\n", encoding="utf-8")
        self.path = path
        for writer in tensorboard_writers(trainer):
            _write_curves(writer, selection)


def path_tags(selection: Any) -> list[str]:
    """Return what the names of each target's curves begin and end with, as `path/{}/y`."""
    _, targets = selection.column_names()
    return [f"path/{{}}/{target}" if len(targets) > 1 else "path/{}" for target in targets]


def json_text(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each entry of a dictionary, and for a list of numbers.

    NaN and infinity, which JSON does not have, become null.

    >>> print(json_text({"rows": 9, "alphas": [1.0, float("nan")]}))
    {
      "rows": 9,
      "alphas": [1.0, null]
    }
    """
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{_dumps(name)}: {json_text(each, inner)}" for name, each in value.items()]
        ends = "{}"
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        parts, ends = [json_text(each, inner) for each in value], "[]"
    elif isinstance(value, list):
        return _dumps([None if _is_missing(each) else each for each in value])
    else:
        return "null" if _is_missing(value) else _dumps(value)
    lines = f",\n{inner}".join(parts)
    return f"{ends[0]}\n{inner}{lines}\n{indent}{ends[1]}" if parts else ends


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _write_curves(writer: Any, selection: Any) -> None:
    ratios = selection.index[:, 0].tolist()
    for k, (tag, ratio) in enumerate(zip(path_tags(selection), ratios, strict=True)):
        mean, spread = selection.mean_error[ratio, :, k], selection.standard_error[ratio, :, k]
        curves = {"mean_error": mean, "low": mean - spread, "high": mean + spread}
        curves["alpha"] = selection.alphas[ratio, :, k]
        for name, values in curves.items():
            for step, value in enumerate(values.tolist()):
                writer.add_scalar(tag.format(name), value, step)
