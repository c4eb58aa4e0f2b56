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
    from linreg_lightning.plots import cross_validation, penalty_path

    indices = {
        selection.options.choice: selection.index,
        "min": selection.index_min,
        "one_standard_error": selection.index_1se,
    }
    choices = {CHOICE_NAMES[name]: tuple(index[k].tolist()) for name, index in indices.items()}
    ratio = int(selection.index[k, 0])
    l1_ratios = selection.l1_ratios.tolist()
    alphas = selection.alphas[:, :, k].numpy()
    path = selection.path.coefficients[ratio, :, :, k]
    counts, counts_label = (path != 0).sum(dim=1).double(), "coefficients that are not 0"
    if l1_ratios[ratio] == 0:
        counts = selection.path.degrees_of_freedom[ratio, :, k]
        counts_label = "effective degrees of freedom"
    if not alphas.any():
        note = f"Every alpha is 0, because {target} does not vary with any column. {note}"
    shared: Any = {"counts": counts.numpy(), "counts_label": counts_label}

    free = selection.options.unpenalized
    penalized = [j for j in range(path.shape[1]) if j not in free]
    names, _ = selection.column_names()
    of_column = "standard deviation" if selection.intercept_fitted else "root mean square"
    notes = [f"Coefficients of all {selection.rows} rows."]
    notes += [f"l1_ratio {l1_ratios[ratio]:.3g}."] * (len(l1_ratios) > 1)
    notes += ["Columns without a penalty are not shown."] * (len(free) > 0)
    yield (
        "penalty_path",
        penalty_path(
            alphas[ratio],
            (path * selection.scale)[:, penalized].numpy(),
            [names[j] for j in penalized],
            target,
            choices={name: a for name, (r, a) in choices.items() if r == ratio},
            per=of_column if selection.options.standardize else "unit of the column",
            caption=" ".join([*notes, note]).strip(),
            **shared,
        ),
    )
    yield (
        "cross_validation",
        cross_validation(
            alphas,
            selection.mean_error[:, :, k].numpy(),
            selection.standard_error[:, :, k].numpy(),
            selection.fold_errors[:, :, k].numpy(),
            target,
            choices=choices,
            l1_ratios=l1_ratios,
            caption=f"{selection.rows} rows in {len(selection.fold_rows)} folds. {note}".strip(),
            **shared,
        ),
    )
