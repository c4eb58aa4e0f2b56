"""Few groups are dealt out to folds in turn, and stay there when rows are added."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from linreg_lightning import (
    InputError,
    RegularizedLeastSquares,
    RegularizedRegressor,
    TabularData,
    TensorData,
    Trainer,
    select_penalty,
)
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.design_matrix.row_subset import splitmix64

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SITES = {31: 4, 7: 6, 12: 9, 5: 11, 90: 15}
"""The number of rows of each site: all differ, also where sites of another day are added."""


def hashed(site: int) -> int:
    """Return the hash of a number by its definition, with the hash that splits tables."""
    number, seed = np.array([[site], [0]], dtype=np.uint64)
    return int(splitmix64(number ^ splitmix64(seed))[0]) % 2**63


def sizes(sites: dict[int, int], folds: int = 5, known: Any = None) -> list[int]:
    """Return the rows of each fold: known sites in turn, in the order of their hashes."""
    order = sorted(sites if known is None else known, key=hashed)
    count = [0] * folds
    for site, rows in sites.items():
        count[(order.index(site) if site in order else hashed(site)) % folds] += rows
    return count


def rows_of(sites: dict[int, int]) -> pd.DataFrame:
    """Return a table with these numbers of rows of each site, in any order."""
    generator = np.random.default_rng(len(sites))
    site = generator.permutation(np.repeat([*sites], [*sites.values()]))
    x = generator.normal(size=(len(site), 2))
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(site=site, text=[f"{s}" for s in site])
    return frame.assign(y=x[:, 0] + generator.normal(size=len(site)))


def fit(data: Any, path: Any = None, folds: int = 5, save: Any = None) -> list[int]:
    """Return the number of rows in each fold after a fit."""
    model = RegularizedLeastSquares(folds=folds, alphas=3, accuracy="float64")
    quiet: Any = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False}
    trainer = Trainer(enable_checkpointing=False, accelerator="cpu", max_epochs=1, **quiet)
    trainer.fit(model, data, ckpt_path=path)
    if save:
        trainer.save_checkpoint(save)
    assert model.selection is not None
    return list(model.selection.fold_rows)


def table(path: Any, group: str = "site", **options: Any) -> TabularData:
    return TabularData(path, "y", ["a", "b"], group=group, **options)


def tensors(frame: pd.DataFrame) -> TensorData:
    return TensorData(frame[["a", "b"]], frame["y"], group=frame["site"], batch_size=7)


def test_as_many_folds_as_sites_leave_one_site_out(tmp_path: Path) -> None:
    frame, expected = rows_of(SITES), sizes(SITES)
    assert sorted(expected) == [4, 6, 9, 11, 15]
    frame.to_csv(tmp_path / "t.csv", index=False)
    for path, group in ((frame, "site"), (str(tmp_path / "t.csv"), "text")):
        assert fit(table(path, group, batch_size=7)) == expected
        assert fit(table(path, stream=True, batch_size=7)) == expected
    assert fit(tensors(frame)) == expected
    x, y = frame[["a", "b"]], frame["y"]
    selection = select_penalty(x, y, folds=5, groups=frame["text"], alphas=3)
    assert list(selection.fold_rows) == expected
    regressor = RegularizedRegressor(cv=5, alphas=3).fit(x, y, groups=frame["site"])
    assert list(regressor.selection_.fold_rows) == expected


def test_more_sites_than_folds_are_spread_evenly() -> None:
    many = {17 * k: 1 for k in range(43)}
    for stream in (False, True):
        found = fit(table(rows_of(many), stream=stream), folds=10)
        assert found == sizes(many, 10)
        assert sorted(found) == [4] * 7 + [5] * 3
    more = {17 * k: 1 for k in range(1025)}
    for stream in (False, True):
        assert fit(table(rows_of(more), stream=stream), folds=10) == sizes(more, 10, known=[])


def test_only_rows_that_count_bring_a_site() -> None:
    """Those of weight 0 do not, nor those that `missing` leaves out; in memory and in a stream."""
    frame = rows_of(SITES | {8: 5, 23: 6})
    frame["w"] = np.where(frame["site"] == 8, 0.0, 1.0)
    left_out = frame["site"] == 23
    for missing, column, group in (("drop", "a", "site"), ("mean", "y", "text")):
        gaps = frame.assign(**{column: frame[column].mask(left_out)})
        for stream in (False, True):
            data = table(gaps, group, weight="w", missing=missing, stream=stream)
            assert fit(data) == sizes(SITES)


def test_a_site_that_is_a_feature_too_has_the_same_fold() -> None:
    frame = rows_of(SITES)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["site"], "D")
    frame = frame.drop(columns="text").assign(day=day)
    for column in ("site", "day"):
        given: Any = {"features": ["a", column], "group": column, "dates": "days"}
        held, streamed = (fit(TabularData(frame, "y", **given, stream=s)) for s in (False, True))
        assert held == streamed
        assert sorted(held) == [4, 6, 9, 11, 15]


def test_fewer_sites_than_folds_are_refused_in_one_line(refused: Callable[..., str]) -> None:
    frame = rows_of({4: 9, 5: 9, 6: 9})
    message = "folds: 10 was given for 3 groups in the rows to train on; type at most 3"
    for data in (table(frame), table(frame, stream=True), tensors(frame)):
        with pytest.raises(InputError, match=f"^{message}$"):
            fit(data, folds=10)
    frame.to_csv("t.csv", index=False)
    line = "fit --model RegularizedLeastSquares --data.path t.csv --data.target y --data.group site"
    assert f"--model.{message}" in refused(line)


@pytest.mark.parametrize("kind", ["memory", "stream", "tensors"])
def test_sites_keep_their_folds_when_rows_are_added(kind: str, tmp_path: Path) -> None:
    def data(frame: pd.DataFrame) -> Any:
        return tensors(frame) if kind == "tensors" else table(frame, stream=kind == "stream")

    later = {5: 2, 90: 3, 1000: 70, 1001: 80}  # lacks sites, and brings new ones
    first, second = (str(tmp_path / name) for name in ("1.ckpt", "2.ckpt"))
    found = fit(data(rows_of(SITES)), save=first)
    added = np.add(found, sizes(later, known=SITES))
    assert fit(data(rows_of(later)), first, save=second) == added.tolist()
    other = tensors if kind != "tensors" else table  # another kind of data goes on
    one = {1000: 5}
    assert fit(other(rows_of(one)), second) == (added + sizes(one, known=SITES)).tolist()


@pytest.mark.parametrize("kind", ["memory", "stream", "tensors"])
def test_rows_with_and_without_sites_are_not_added(kind: str, tmp_path: Path) -> None:
    """Those of a site might be in several folds."""

    def data(has_sites: bool) -> Any:
        frame = rows_of(SITES)
        if kind == "tensors":
            group = frame["site"] if has_sites else None
            return TensorData(frame[["a", "b"]], frame["y"], group=group)
        column = "site" if has_sites else None
        return TabularData(frame, "y", ["a", "b"], group=column, stream=kind == "stream")

    path = str(tmp_path / "first.ckpt")
    for has_sites, message in (
        (False, "group: it was given, and"),
        (True, "group: none was given"),
    ):
        fit(data(has_sites), save=path)
        with pytest.raises(InputError, match=message):
            fit(data(not has_sites), path)
        assert sum(fit(data(has_sites), path)) == 2 * sum(SITES.values())


@pytest.mark.parametrize("split", ["val_fraction", "test_fraction"])
def test_rows_held_out_one_by_one_are_told(split: str) -> None:
    frame, fractions = rows_of(SITES), {split: 0.2}
    given: Any = {"group": frame["site"], **fractions}
    streamed = TabularData(frame, "y", ["a"], group="site", stream=True, **fractions)
    for data in (TensorData(frame[["a", "b"]], frame["y"], **given), streamed):
        with pytest.warns(UserWarning, match="group: val_fraction and test_fraction hold out sing"):
            fit(data)


def test_a_model_forgets_the_sites_of_an_earlier_fit() -> None:
    model = RegularizedLeastSquares(folds=5, alphas=3)
    for sites in (SITES, {k: k for k in range(3, 9)}):
        quiet: Any = {"barebones": True, "max_epochs": 1, "accelerator": "cpu"}
        Trainer(**quiet).fit(model, tensors(rows_of(sites)))
        assert model.selection is not None
        assert list(model.selection.fold_rows) == sizes(sites)


@pytest.mark.parametrize("stream", [False, True])
def test_each_process_knows_all_sites(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = rows_of(SITES).sort_values("site")  # the share of a process lacks most sites
    monkeypatch.setattr(SplitReader, "_all_gather", lambda self, value: [value] * self.world_size)
    total = np.zeros(5, int)
    for rank in range(2):
        place = property(lambda _, rank=rank: (rank, 2))
        monkeypatch.setattr(TabularData, "rank_and_world_size", place)
        folds: list[torch.Tensor] = []
        model = RegularizedLeastSquares(folds=5, alphas=3)
        monkeypatch.setattr(model, "_add_rows", lambda _, fold, folds=folds: folds.append(fold))
        data = table(frame, stream=stream)
        with pytest.raises(InputError, match="the run was stopped"):
            Trainer(barebones=True, max_epochs=1, accelerator="cpu").fit(model, data)
        total += torch.bincount(torch.cat(folds).long(), minlength=5).numpy()
    assert total.tolist() == sizes(SITES)
