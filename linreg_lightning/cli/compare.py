"""`linreg compare`: two fits of checkpoints side by side, and tests between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from linreg_lightning.algebra import compare as compare_fits
from linreg_lightning.cli.fitted_model import (
    command_parser,
    fit_of,
    fitted_model,
    hypothesis_test,
    json_text,
)
from linreg_lightning.coefficient_table import fit_title
from linreg_lightning.errors import InputError


def compare(args: list[str]) -> str:
    """Return the comparison of two checkpoints of LeastSquares, and tests of hypotheses.

    With `--test` one checkpoint is enough. InputError says that a checkpoint is missing, or holds
    another model.
    """
    parser = command_parser(
        "compare",
        "Compare the fits of two checkpoints: coefficients, AIC, BIC and, where one is nested in "
        "the other, F and likelihood-ratio tests; or test hypotheses about one.",
    )
    text = "one or two checkpoints: files, last or best"
    parser.add_argument("checkpoints", nargs="+", metavar="CKPT", help=text)
    given = parser.parse_args(args)
    paths = given.checkpoints
    if len(paths) == 1 and given.test is None:
        raise InputError("CKPT: one checkpoint was given; type two, or one and --test")
    if len(paths) > 2:
        raise InputError(f"CKPT: {len(paths)} checkpoints were given; type two")
    fits = []
    for path in paths:
        with fitted_model(path, given.root, given.trust) as model:
            fits.append(fit_of(model, path))
    tests = [] if given.test is None else _tests(fits, given.test)
    comparison = None
    if len(fits) == 2:
        titles = [
            fit_title(path, fit.target_names, fit.feature_names)
            for path, fit in zip(paths, fits, strict=True)
        ]
        comparison = replace(compare_fits(*fits), titles=titles)
    if given.format == "json":
        return json_text(_content(comparison, tests))
    texts = [] if comparison is None else [comparison.summary(given.format)]
    for label, test in zip("AB", tests, strict=False):
        if isinstance(test, str):
            texts.append(f"{label}: {test.removeprefix('--test: ')}")
        else:
            title = f"{label}: {test.title}" if comparison else test.title
            texts.append(replace(test, title=title).summary(given.format))
    return "\n\n".join(texts)


def _tests(fits: list[Any], text: str) -> list[Any]:
    """Return the test of each fit, or in its place why there is none; one at least has a test."""
    tests: list[Any] = []
    for fit in fits:
        try:
            tests.append(hypothesis_test(fit, text))
        except InputError as error:
            tests.append(str(error))
    if all(isinstance(test, str) for test in tests):
        raise InputError(tests[0])
    return tests


def _content(comparison: Any, tests: list[Any]) -> dict[str, Any]:
    dicts = [{"refused": test} if isinstance(test, str) else test.to_dict() for test in tests]
    if comparison is None:
        return {"test": dicts[0]}
    labelled = dict(zip("AB", dicts, strict=False))
    return {**comparison.to_dict(), **({"hypotheses": labelled} if dicts else {})}
