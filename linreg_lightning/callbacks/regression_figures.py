"""The plots of a regression, which `FitPlots` writes."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer

from linreg_lightning.callbacks.row_sampler import RowSample, first_process_note, sample_caption
from linreg_lightning.callbacks.selection_figures import selection_figures
from linreg_lightning.protocols import (
    IntervalModel,
    NamedColumns,
    coefficient_rows,
    is_single_pass,
    selection_of,
)

_MAX_TARGETS = 4
_LINE_POINTS = 101  # enough for smooth bands, whose edges are curves


class CoefficientPath(NamedTuple):
    """The estimates of two coefficients, keyed by step and by (target, name)."""

    pair: list[str]
    estimates: dict[int, dict[tuple[str, str], float]]


def regression_figures(
    trainer: Trainer,
    model: LightningModule,
    samples: Mapping[str, RowSample],
    path: CoefficientPath,
) -> Iterator[tuple[str, str, Any]]:
    """Yield file name, TensorBoard tag and Figure of each plot; add new plots here.

    `samples` holds rows by the name of their split, y and predictions (rows, targets). Without
    samples there are plots of the coefficients alone.
    """
    from linreg_lightning.plots import SplitPredictions, coefficients, predicted, residuals

    tables: dict[str, list[dict[str, Any]]] = {}
    for row in coefficient_rows(model):
        tables.setdefault(row["target"], []).append(row)
    targets = (list(model.target_names) if isinstance(model, NamedColumns) else []) or [*tables]
    count = samples["training"].y.shape[1] if "training" in samples else len(targets)
    if len(targets) != count:
        targets = ["y"] if count == 1 else [f"y{k}" for k in range(1, count + 1)]
    step = "" if is_single_pass(model) else f"Step {trainer.global_step}. "
    several = len(targets) > 1
    shown = {name: sample for name, sample in samples.items() if sample.y.shape[1] == len(targets)}
    for k, target in enumerate(targets[:_MAX_TARGETS]):
        file, tag = (f"-{k + 1}", f"/{target}") if several else ("", "")
        number = f" Target {k + 1} of {len(targets)}." if several else ""
        splits = [
            SplitPredictions(split, sample.y[:, k], sample.predicted[:, k])
            for split, sample in shown.items()
        ]
        if splits:
            caption = f"{sample_caption(trainer, model, samples)}{number}"
            if figure := _line(model, shown, target, k, caption):
                yield f"line{file}", f"line{tag}", figure
            uncentered = getattr(model, "r2_uncentered", False) is True
            figure = predicted(splits, target, caption, uncentered=uncentered)
            yield f"predicted{file}", f"predicted{tag}", figure
            yield f"residuals{file}", f"residuals{tag}", residuals(splits, target, caption)
        if table := tables.get(target):
            known = [row for row in table if math.isfinite(row.get("ci_low", math.nan))]
            confidence = getattr(model, "confidence", None) if known else None
            intervals = "" if confidence is None else f"{100 * confidence:g}% confidence intervals."
            figure = coefficients(table, target, f"{step}{intervals}{number}".strip())
            yield f"coefficients{file}", f"coefficients{tag}", figure
            if selection := selection_of(model):
                for name, figure in selection_figures(selection, k, target, number.strip()):
                    yield f"{name}{file}", f"{name}{tag}", figure
            if figure := _descent(trainer, model, samples.get("training"), table, k, path):
                yield f"descent{file}", f"descent{tag}", figure


def _line(model: Any, samples: dict[str, RowSample], target: str, k: int, caption: str) -> Any:
    """Return the Figure of y over the only feature; None for another number of features."""
    from linreg_lightning.plots import FittedLine, SplitRows, line

    names = model.feature_names if isinstance(model, NamedColumns) else []
    features = [j for j, name in enumerate(names) if name != "intercept"]
    shape = (len(names),)
    if len(features) != 1 or any(sample.x.shape[1:] != shape for sample in samples.values()):
        return None
    j, device = features[0], model.device
    splits = [SplitRows(split, sample.x[:, j], sample.y[:, k]) for split, sample in samples.items()]
    x = torch.cat([split.x for split in splits])
    if isinstance(model, IntervalModel):
        points = torch.ones(_LINE_POINTS, len(names), dtype=torch.float64)
        points[:, j] = torch.linspace(x.min(), x.max(), _LINE_POINTS, dtype=torch.float64)
        fit = model.prediction(points.to(device))
        intervals = (fit.mean_low, fit.mean_high), (fit.row_low, fit.row_high)
        bands = [(low[:, k], high[:, k]) for low, high in intervals]
        fitted = FittedLine(points[:, j], fit.mean[:, k], *bands)
        if bands[0][0].isfinite().all():
            caption += f" {100 * getattr(model, 'confidence', 0.95):g}% bands."
            weighted = any(sample.weight is not None for sample in samples.values())
            caption += " The prediction band is for rows of weight 1." if weighted else ""
    else:
        order = x.argsort()
        predicted = torch.cat([sample.predicted[:, k] for sample in samples.values()])
        fitted = FittedLine(x[order], predicted[order])
    return line(splits, fitted, names[j], target, caption)


def _descent(
    trainer: Trainer,
    model: Any,
    sample: RowSample | None,
    table: list[Any],
    k: int,
    path: CoefficientPath,
) -> Any:
    """Return the Figure of the path of target k; None without a path or named columns of x."""
    from linreg_lightning.plots import LossSurface, descent

    if sample is None or len(path.estimates) < 2:
        return None
    x, names = sample.x, list(model.feature_names)
    if x.shape[1:] != (len(names),):
        return None
    rows = {row["name"]: row for row in table}
    if "intercept" in rows and "intercept" not in names:
        x, names = torch.cat([torch.ones_like(x[:, :1]), x], dim=1), ["intercept", *names]
    chosen = [names.index(name) for name in path.pair]
    others = [j for j in range(len(names)) if j not in chosen]
    surface = LossSurface.of(x[:, chosen], sample.y[:, k], x[:, others], sample.weight)
    true = [rows[name].get("true") for name in path.pair]
    first, last, target = min(path.estimates), max(path.estimates), table[0]["target"]
    resumed = ", where the run was resumed," if first else ""
    rest = " All other coefficients have their best values given these two." if others else ""
    caption = (
        f"The path from step {first}{resumed} to {last}. The loss is the mean squared error of "
        f"{sample.describe('training')}.{rest}{first_process_note(trainer)}"
    )
    keys = [(target, name) for name in path.pair]
    points = [[estimates[key] for key in keys] for estimates in path.estimates.values()]
    steps = torch.tensor(points, dtype=torch.float64)
    return descent(surface, steps, path.pair, true, target, caption)
