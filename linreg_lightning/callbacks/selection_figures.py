"""The plots of a model that has chosen a penalty."""

from collections.abc import Iterator
from typing import Any

CHOICE_NAMES = {
    "min": "least error",
    "one_standard_error": "one standard error",
    "aic": "least AIC",
    "bic": "least BIC",
    "cp": "least Cp",
    "gcv": "least GCV",
}


def selection_figures(
    selection: Any, k: int, target: str, note: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the name and the Figure of each plot of target number k of an `algebra.Selection`.

    `target` is the name of y, and `note` ends the captions.
    """
    from linreg_lightning.plots import cross_validation

    indices = {
        selection.options.choice: selection.index,
        "min": selection.index_min,
        "one_standard_error": selection.index_1se,
    }
    choices = {CHOICE_NAMES[name]: tuple(index[k].tolist()) for name, index in indices.items()}
    ratio = int(selection.index[k, 0])
    alphas = selection.alphas[:, :, k].numpy()
    counts = (selection.path.coefficients[ratio, :, :, k] != 0).sum(dim=1).double()
    shared: Any = {"counts": counts.numpy(), "counts_label": "coefficients that are not 0"}
    if selection.l1_ratios[ratio] == 0:
        shared["counts"] = selection.path.degrees_of_freedom[ratio, :, k].numpy()
        shared["counts_label"] = "effective degrees of freedom"
    if not alphas.any():
        note = f"Every alpha is 0, because {target} does not vary with any column. {note}"
    yield "penalty_path", _path_figure(selection, k, target, note, choices, shared)
    figure = cross_validation(
        alphas,
        selection.mean_error[:, :, k].numpy(),
        selection.standard_error[:, :, k].numpy(),
        selection.fold_errors[:, :, k].numpy(),
        target,
        choices=choices,
        l1_ratios=selection.l1_ratios.tolist(),
        caption=f"{selection.rows} rows in {len(selection.fold_rows)} folds. {note}".strip(),
        **shared,
    )
    yield "cross_validation", figure


def _path_figure(
    selection: Any, k: int, target: str, note: str, choices: dict[str, Any], shared: Any
) -> Any:
    """Return the Figure of the path of the l1_ratio that was chosen."""
    from linreg_lightning.plots import penalty_path

    ratio, free = int(selection.index[k, 0]), selection.options.unpenalized
    path = selection.path.coefficients[ratio, :, :, k] * selection.scale
    penalized = [j for j in range(path.shape[1]) if j not in free]
    names, _ = selection.column_names()
    of_column = "standard deviation" if selection.intercept_fitted else "root mean square"
    notes = [f"Coefficients of all {selection.rows} rows."]
    if len(selection.l1_ratios) > 1:
        notes.append(f"l1_ratio {float(selection.l1_ratios[ratio]):.3g}.")
    if len(free):
        notes.append("Columns without a penalty are not shown.")
    return penalty_path(
        selection.alphas[ratio, :, k].numpy(),
        path[:, penalized].numpy(),
        [names[j] for j in penalized],
        target,
        choices={name: a for name, (r, a) in choices.items() if r == ratio},
        per=of_column if selection.options.standardize else "unit of the column",
        caption=" ".join([*notes, note]).strip(),
        **shared,
    )
