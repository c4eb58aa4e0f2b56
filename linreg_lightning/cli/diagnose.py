"""`linreg diagnose`: whether the assumptions of a fit hold, in sentences and pictures."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from tqdm import tqdm

from linreg_lightning.algebra.diagnostics import Diagnostics
from linreg_lightning.algebra.fit import Fit
from linreg_lightning.algebra.row_diagnostics import RowDiagnostics
from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.batch import NumberedRows
from linreg_lightning.callbacks.diagnostic_figures import diagnostic_figures
from linreg_lightning.callbacks.tensorboard import add_png
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import TRUST_HELP, check_classes
from linreg_lightning.cli.command import ROOT, active
from linreg_lightning.cli.fitted_model import fit_of, fitted_model, json_text
from linreg_lightning.data import RegressionDataModule
from linreg_lightning.errors import InputError
from linreg_lightning.logger import RunLogger

_SAMPLE_ROWS = 5000  # drawn in pictures
_SECONDS_BEFORE_PROGRESS = 2.0
_SAME_MEAN = 1e-6  # of the size of a column, by which the means of the same rows differ at most


def diagnose(args: list[str]) -> str:
    """Read the rows of a fit once more; write diagnostics.json and pictures; return the report.

    InputError says that there is no checkpoint, that its model is no LeastSquares of one fit, or
    that its rows are not there any more.
    """
    given = _parser().parse_args(args)
    if given.rows < 1:
        raise InputError(f"--rows: {given.rows} was given; type a whole number above 0")
    checkpoint = CheckpointInfo.read(given.ckpt_path, given.root)
    check_classes(checkpoint, ["model", "data"], None if given.trust else set())
    path = str(checkpoint.path)
    with fitted_model(path, given.root, given.trust) as model:
        fit = fit_of(model, path)
    _check_fit(fit, path)
    columns = given.columns or []
    if unknown := [name for name in columns if name not in fit.feature_names]:
        known = ", ".join(fit.feature_names[:20])
        raise InputError(f"--columns: the fit has no column {unknown[0]!r}; it has {known}")
    parts = [_make_data(arguments, checkpoint) for arguments in _data_arguments(checkpoint)]
    found = _read_rows(fit, parts, given.rows, path)
    keep = [name for word in given.keep for name in _listed(word)]
    keys = _read_keys(parts, found, keep) if keep else {}
    logger = RunLogger(given.root)
    folder = Path(logger.log_dir)
    content = found.to_json()
    content["sentences"] = [_with_flags(sentence) for sentence in content["sentences"]]
    if keys:
        content["keys"] = {str(number): values for number, values in keys.items()}
    with atomic_path(folder / "diagnostics.json") as unfinished:
        unfinished.write_text(json_text(content) + "\n", encoding="utf-8")
    _write_pictures(found, columns, keys, folder, logger)
    logger.finalize("success")
    if given.format == "json":
        return json_text(content)
    files = f"diagnostics  {folder / 'diagnostics.json'}\nfigures      {folder / '*.png'}"
    return "\n\n".join(
        text for text in (_with_flags(found.summary()), _key_table(keys), files) if text
    )


def _parser() -> argparse.ArgumentParser:
    text = (
        "Read the rows of a LeastSquares fit once more, and say whether its assumptions hold: "
        "collinear columns, influential rows, residuals that spread unevenly."
    )
    parser = argparse.ArgumentParser(f"{active().name} diagnose", description=text)
    parser.add_argument("--ckpt_path", default="last", help="a file, last or best (default: last)")
    text = "columns of the table by which to name influential rows, such as id"
    parser.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help=text)
    text = "how many of the most influential rows to list (default: 10)"
    parser.add_argument("--rows", type=int, default=10, help=text)
    text = "columns of which to draw the partial regression"
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help=text)
    parser.add_argument("--format", choices=["text", "json"], default="text", help="default: text")
    text = "where last and best look, and where the new run writes"
    parser.add_argument("--trainer.default_root_dir", dest="root", default=ROOT, help=text)
    parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


def _listed(word: str) -> list[str]:
    """Return the names of a list such as `[id,year]`, as `predict` reads it, or the one given."""
    is_list = word.startswith("[") and word.endswith("]")
    return [name.strip() for name in word[1:-1].split(",")] if is_list else [word]


def _check_fit(fit: Fit, path: str) -> None:
    """Refuse fits of which the numbers of a row are not those of ordinary least squares."""
    if fit.solution.ridge:
        raise InputError(
            f"--ckpt_path: {path} was fitted with ridge {fit.solution.ridge:g}, which biases "
            "residuals; fit without --model.ridge"
        )
    if fit.solution.absorbed:
        raise InputError(
            f"--ckpt_path: {path} has absorbed {fit.solution.absorbed} effects, of which it keeps "
            "none; fit with indicators (--data.categorical) in place of --data.absorb"
        )
    if fit.solution.df_residual < 2:
        raise InputError(
            f"--ckpt_path: {path} has {fit.solution.equations.rows} rows for "
            f"{fit.solution.rank} terms, too few to judge residuals; fit at least two more rows"
        )


def _data_arguments(checkpoint: CheckpointInfo) -> list[dict[str, Any]]:
    """Return class and arguments of the data of each fit whose rows the checkpoint has added."""
    if checkpoint.partial or not checkpoint.fitted_data:
        reason = "holds an interrupted pass" if checkpoint.partial else "does not name its rows"
        raise InputError(
            f"--ckpt_path: {checkpoint.path} {reason}; fit with {active().name} fit --data.path, "
            "or in Python call fit.diagnostics()"
        )
    newest, *earlier = checkpoint.fitted_data
    design = newest["init_args"].get("design")
    changed = {} if design is None else {"design": design}
    return [each | {"init_args": each["init_args"] | changed} for each in (*earlier, newest)]


def _make_data(stored: dict[str, Any], checkpoint: CheckpointInfo) -> RegressionDataModule:
    cls: Any = resolve_name(stored["class_path"])
    if not issubclass(cls, RegressionDataModule):
        raise InputError(
            f"--ckpt_path: {checkpoint.path} was fitted to a {cls.__name__}, which does not number "
            "its rows; derive it from RegressionDataModule"
        )
    try:
        data: RegressionDataModule = cls(**stored["init_args"])
    except TypeError as error:
        raise InputError(
            f"--ckpt_path: {checkpoint.path} does not hold the rows of its {cls.__name__} "
            f"({error}); in Python call fit.diagnostics()"
        ) from None
    return data


def _numbered(parts: Sequence[RegressionDataModule], kept: Sequence[str]) -> Iterator[NumberedRows]:
    """Yield the rows of all data, numbered on from one to the next."""
    first = 0
    for k, data in enumerate(parts):
        count_table = None
        for rows in data.numbered_rows(kept):
            count_table = rows.count_table
            yield rows._replace(numbers=rows.numbers + first)
        if count_table is not None and k + 1 < len(parts):
            first += count_table()


def _read_rows(fit: Fit, parts: Sequence[RegressionDataModule], top: int, path: str) -> Diagnostics:
    """Read all rows once; refuse rows that are not those of the fit."""
    rows = RowDiagnostics(fit, top=top, sample_rows=_SAMPLE_ROWS)
    equations = fit.solution.equations
    count, weight, sums = 0, 0.0, torch.zeros(len(equations.exponent), dtype=torch.float64)
    sizes = torch.zeros_like(sums)
    progress = tqdm(
        total=equations.rows,
        unit=" rows",
        unit_scale=True,
        delay=_SECONDS_BEFORE_PROGRESS,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        for block in _numbered(parts, ()):
            batch = block.batch
            names = parts[0].feature_names
            if "intercept" in names:
                others = [j for j, name in enumerate(names) if name != "intercept"]
                batch = batch._replace(x=batch.x[:, others])
            weights = batch.weight if batch.weight is not None else torch.ones(batch.rows)
            values = torch.cat((batch.x, batch.y), 1).double()
            counted = weights > 0
            count += int(counted.sum())
            weight += float(weights.double().sum())
            sums += weights.double() @ values
            sizes += weights.double() @ values.abs()
            rows.update(batch, block.numbers)
            progress.update(batch.rows)
    mean = torch.ldexp(equations.mean.high, equations.exponent)
    differs = (sums / weight - mean).abs() > _SAME_MEAN * sizes / weight
    if count != equations.rows or (equations.intercept and bool(differs.any())):
        raise InputError(
            f"--ckpt_path: {path} was fitted to {equations.rows} rows, and its data now have "
            f"{count} rows{' with other values' if count == equations.rows else ''}; fit anew, or "
            "bring back the files of the fit"
        )
    return rows.finish()


def _read_keys(
    parts: Sequence[RegressionDataModule], found: Diagnostics, kept: Sequence[str]
) -> dict[int, dict[str, str]]:
    """Return the columns kept of the influential rows, by row number."""
    influential = [each.row for target in found.targets for each in target.influential]
    wanted = torch.tensor(influential, dtype=torch.int64).unique()
    keys: dict[int, dict[str, str]] = {}
    for rows in _numbered(parts, kept):
        for place in torch.isin(rows.numbers, wanted).nonzero().flatten().tolist():
            values = {name: rows.kept.column(name)[place].as_py() for name in kept}
            keys[int(rows.numbers[place])] = {name: str(value) for name, value in values.items()}
        if len(keys) == len(wanted):
            break
    return keys


def _with_flags(text: str) -> str:
    """Return a text with the options of the command in place of the model's arguments."""
    text = re.sub(r"\berrors (HC3|HAC|cluster)", r"--model.errors \1", text)
    return text.replace("HAC with lags", "HAC with --model.lags")


def _key_table(keys: dict[int, dict[str, str]]) -> str:
    lines = [
        f"row {number}: {', '.join(f'{name} {value}' for name, value in values.items())}"
        for number, values in sorted(keys.items())
    ]
    return "\n".join(lines)


def _write_pictures(
    found: Diagnostics,
    columns: Sequence[str],
    keys: dict[int, dict[str, str]],
    folder: Path,
    logger: RunLogger,
) -> None:
    from linreg_lightning.plots import png

    texts = {number: " ".join(values.values()) for number, values in keys.items()}
    for name, tag, figure in diagnostic_figures(found, columns, texts):
        content = png(figure)
        with atomic_path(folder / f"{name}.png") as unfinished:
            unfinished.write_bytes(content)
        add_png(logger.experiment, tag, content, 0)
