"""The plots of the diagnostics of a fit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MAX_TARGETS = 4
_MAX_LABELS = 5


def diagnostic_figures(
    found: Any, columns: Sequence[str] = (), names: Mapping[int, str] | None = None
) -> Iterator[tuple[str, str, Any]]:
    """Yield file name, TensorBoard tag and Figure of each plot of some `Diagnostics`.

    `columns` have plots of their partial regression. Influential rows are labelled by `names`, by
    the numbers of rows, or by these numbers. Of several targets the first four have plots.
    """
    from linreg_lightning.plots import leverage, partial_regression, qq, scale_location

    sample = found.sample
    caption = f"All {found.rows} training rows."
    if not sample.complete:
        caption = (
            f"{len(sample.number)} of {found.rows} training rows: drawn at random, and the most "
            "influential ones."
        )
    # Rows added to a random sample would lie at quantiles that are not theirs.
    added = {row.row for each in found.targets for row in each.influential}
    drawn = [sample.complete or number not in added for number in sample.number.tolist()]
    places = {number: place for place, number in enumerate(sample.number.tolist())}
    for k, each in enumerate(found.targets[:_MAX_TARGETS]):
        file, tag = (f"-{k + 1}", f"/{each.target}") if len(found.targets) > 1 else ("", "")
        labels = {
            places[row.row]: (names or {}).get(row.row, str(row.row))
            for row in each.influential[:_MAX_LABELS]
            if row.row in places
        }
        internal, external = sample.internal[:, k], sample.external[:, k]
        rest = each.target, caption, labels
        if sample.complete:
            figure = qq(external, found.df_residual - 1, *rest)
        else:
            text = f"{sum(drawn)} of {found.rows} training rows, drawn at random."
            figure = qq(external[drawn], found.df_residual - 1, each.target, text)
        yield f"qq{file}", f"qq{tag}", figure
        figure = scale_location(sample.predicted[:, k], internal, *rest)
        yield f"scale-location{file}", f"scale-location{tag}", figure
        figure = leverage(sample.leverage, internal, found.rank, *rest)
        yield f"leverage{file}", f"leverage{tag}", figure
        for j, column in enumerate(columns, 1):
            x, y, slope = found.partial_regression(column, k)
            figure = partial_regression(x, y, slope, column, *rest)
            yield f"partial-{j}{file}", f"partial/{column}{tag}", figure
