"""`select_penalty` takes rows as `least_squares` does, warns, and refuses what cannot work."""

import json
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from test_selection import draw, hard_rows, quiet

import linreg_lightning as ll
from linreg_lightning import InputError, select_penalty
from linreg_lightning.algebra import ExactGram, elastic_net
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import folds_of_blocks, folds_of_groups, folds_of_rows
from linreg_lightning.algebra.selection import select
from linreg_lightning.algebra.selection_options import SelectionOptions
from linreg_lightning.batch import Batch

X, Y, WEIGHT, FOLD = draw(rows=30, features=3)
FEW = {"alphas": 4, "folds": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "l1"}, "penalty: l1 was given; type ridge, lasso or elasticnet"),
        ({"choice": "best"}, "choice: best was given; type min, one_standard_error, aic, bic, cp"),
        ({"alphas": 0}, "alphas: 0 was given; type numbers above 0 in decreasing order, such"),
        ({"alphas": 1}, "order, such as [1.0, 0.1], or how many, at least 2"),
        ({"alphas": True}, "alphas: True was given; type numbers"),
        ({"alphas": 2.5}, "alphas: 2.5 was given; type numbers"),
        ({"alphas": []}, "alphas: [] was given; type numbers"),
        ({"alphas": [1.0, 2.0]}, "alphas: [1.0, 2.0] was given; type numbers"),
        ({"alphas": [1.0, 1.0]}, "alphas: [1.0, 1.0] was given; type numbers"),
        ({"alphas": [1.0, 0.0]}, "alphas: [1.0, 0.0] was given; type numbers"),
        ({"alphas": [np.nan]}, "alphas: [nan] was given; type numbers"),
        ({"alphas": [np.inf, 1.0]}, "alphas: [inf, 1.0] was given; type numbers"),
        ({"l1_ratio": 0.5}, "l1_ratio: 0.5 was given with penalty lasso; type penalty elasticnet"),
        (
            {"penalty": "elasticnet", "l1_ratio": 0},
            "type numbers above 0 and up to 1 (0 is penalty",
        ),
        ({"penalty": "elasticnet", "l1_ratio": [0.5, 1.5]}, "l1_ratio: [0.5, 1.5] was given; type"),
        ({"penalty": "elasticnet", "l1_ratio": []}, "l1_ratio: [] was given; type numbers"),
        ({"penalty": "elasticnet", "l1_ratio": "a"}, "l1_ratio: a was given; type numbers above"),
        ({"penalty": "ridge", "refit": True}, "refit: True was given with penalty ridge, which"),
        ({"unpenalized": [3]}, "unpenalized: [3] was given; type columns of x from 0 to 2"),
        ({"unpenalized": [0, 1, 2]}, "unpenalized: all columns of x were given; leave at least"),
        ({"unpenalized": ["a"]}, "unpenalized: 'a' is no column of x; give places, since x has no"),
        ({"folds": 1}, "folds: 1 was given; type a whole number from 2 to 255"),
        ({"folds": 256}, "folds: 256 was given; type a whole number from 2 to 255"),
        ({"folds": 31}, "folds: 31 was given for 30 rows; type at most the number of rows"),
        ({"folds": True}, "folds: True was given; type a whole number from 2 to 255, or the fold"),
        ({"folds": "ten"}, "folds: ten was given; type a whole number from 2 to 255, or the fold"),
        ({"folds": [0, 1]}, "folds: a shape of (2,) was given; (30,) is needed"),
        ({"folds": [0] * 30}, "folds: 1 was given; type a whole number from 2 to 255"),
        ({"folds": [-1] + [0, 1] * 14 + [1]}, "folds: -1 was given; type numbers from 0 for all"),
        ({"folds": 2, "nested": True}, "nested: True was given with 2 folds; type folds 3 or more"),
        ({"groups": [0, 1] * 15}, "folds: 10 was given for 2 groups; type at most 2"),
        (
            {"groups": [0, 1] * 15, "blocks": True},
            "folds, groups, blocks: two of them say in which",
        ),
        ({"alphas": "321"}, "alphas: 321 was given; type numbers"),
        ({"alphas": 10**9}, "alphas: 1000000000 was given; type numbers"),
        ({"alphas": [10**400, 1]}, "00, 1] was given; type numbers"),
        ({"alphas": np.array(["1"])}, "alphas: ['1'] was given; type numbers"),
        ({"alphas": (a for a in (1.0, 0.1))}, "was given; type numbers above 0 in"),
        ({"penalty": "elasticnet", "l1_ratio": torch.tensor(0.0)}, "l1_ratio: 0.0 was given"),
        ({"penalty": "elasticnet", "l1_ratio": (a for a in (1.0,))}, "was given; type numbers"),
        ({"unpenalized": [1.5]}, "unpenalized: 1.5 was given; type names of columns, or their"),
        ({"unpenalized": np.array([True, False, False])}, "unpenalized: True was given; type"),
        ({"standardize": "no"}, "standardize: no was given; type true or false"),
        ({"intercept": "no"}, "intercept: no was given; type true or false"),
        ({"fold_seed": 1.5}, "fold_seed: 1.5 was given; type a whole number"),
        ({"confidence": None}, "confidence: None was given; type a number from 0.000001 to"),
        ({"accuracy": "double"}, "accuracy: 'double' was given; type auto, exact or float64"),
        ({"confidence": 1.0}, "confidence: 1.0 was given; type a number from 0.000001 to below 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused_in_one_line(options, message) -> None:
    with pytest.raises(InputError, match="^" + ".*" + re.escape(message)) as error:
        select_penalty(X, Y, **options)
    assert "\n" not in str(error.value)


def test_rows_that_cannot_work_are_refused() -> None:
    wrong = X.copy()
    wrong[4, 1] = np.nan
    with pytest.raises(InputError, match="column 2 of x: row 5 holds nan, a missing value"):
        select_penalty(wrong, Y)
    with pytest.raises(InputError, match="x: no column was given; type at least one column"):
        select_penalty(X[:, :0], Y)
    with pytest.raises(InputError, match=r"in fold 2 of 3; type fewer folds, or another fold_seed"):
        select_penalty(X, Y, FOLD % 3 != 1, folds=FOLD % 3)
    with pytest.raises(InputError, match="weight: it is 0 in every row"):
        select_penalty(X, Y, 0 * WEIGHT)
    with pytest.raises(InputError, match="choice: cp was given, which needs more rows than"):
        select_penalty(X[:4], Y[:4], folds=2, choice="cp")


@pytest.mark.parametrize("penalty", ["ridge", "lasso", "elasticnet"])
def test_constant_targets_and_columns_have_coefficients_of_zero(penalty) -> None:
    constant = quiet(X, np.full(30, 5.0), penalty=penalty, **FEW)
    assert not constant.alphas.any()
    assert constant.coefficients.tolist() == [0, 0, 0]
    assert float(constant.intercept) == 5
    assert not constant.mean_error.any()
    ones = quiet(np.ones((30, 3)), Y, penalty=penalty, **FEW)
    assert ones.coefficients.tolist() == [0, 0, 0]
    assert float(ones.intercept) == pytest.approx(Y.mean())
    assert ones.left_out == (0, 1, 2)
    assert constant.digits.tolist() == ones.digits.tolist() == [15.9]
    for selection in (constant, ones):
        assert selection.mean_error.isfinite().all()
        assert "NA" not in selection.summary().split("rows 30")[0]


@pytest.mark.parametrize("intercept", [False, True])
def test_a_choice_without_columns_has_a_refit(intercept) -> None:
    noise = np.random.default_rng(0).normal(size=30)
    options = {"choice": "one_standard_error", "refit": True, "intercept": intercept}
    selection = quiet(X, noise, folds=3, **options)
    assert not selection.coefficients.any()
    assert len(selection.refit.estimate) == intercept
    assert float(selection.refit.intercept) == pytest.approx(noise.mean() * intercept)
    assert selection.to_frame("pandas").estimate.iloc[int(intercept) :].tolist() == [0, 0, 0]
    assert "0 of 3 coefficients are not 0" in selection.summary()
    assert selection.statistics["r2"] == 0


def test_arguments_of_any_library_are_the_same() -> None:
    options = {"penalty": "elasticnet", "accuracy": "float64"}
    plain = quiet(X, Y, **options, alphas=[1.0, 0.5], l1_ratio=0.5, unpenalized=[1], folds=4)
    for kind in (np.array, torch.tensor, tuple):
        values = {"alphas": kind([1.0, 0.5]), "unpenalized": kind([1]), "l1_ratio": kind([0.5])}
        other = quiet(X, Y, **options, **values, folds=np.uint8(4), fold_seed=np.int32(0))
        assert torch.equal(other.coefficients, plain.coefficients)
        assert other.options.alphas == [1.0, 0.5]
    assert quiet(X, Y, unpenalized=None, **FEW).options.unpenalized == ()


@pytest.mark.parametrize("penalty", ["ridge", "lasso", "elasticnet"])
def test_targets_whose_squares_leave_float64_are_refused(penalty) -> None:
    for scale, size in ((1e200, "large"), (1e-200, "small")):
        message = f"column 2 of y: its squared errors are too {size} for float64; give it in other"
        with pytest.raises(InputError, match=message):
            quiet(X, np.column_stack((Y, Y * scale)), penalty=penalty, **FEW)


def test_a_target_of_zeros_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select_penalty(X, Y * 0, folds=3).statistics["cv_error"] == 0


def test_errors_far_from_1_have_standard_errors() -> None:
    plain = quiet(X, Y, WEIGHT, **FEW)
    for scale in (2.0**-500, 2.0**500):
        far = quiet(X * scale, Y * scale, WEIGHT, **FEW)
        assert torch.equal(far.standard_error, plain.standard_error * scale**2)


@pytest.mark.parametrize("penalty", ["ridge", "lasso", "elasticnet"])
def test_combinations_of_columns_without_a_penalty_are_left_out(penalty) -> None:
    x = np.hstack((X[:, :2], X[:, :1] * 0.3 - X[:, 1:2], X[:, 2:]))
    for accuracy in ("exact", "float64"):
        options = {"penalty": penalty, "accuracy": accuracy, "alphas": [0.1], "folds": 3}
        selection = quiet(x, Y, unpenalized=[0, 1], **options)
        plain = quiet(X, Y, unpenalized=[0, 1], **options)
        assert selection.left_out == (2,)
        b = selection.coefficients
        np.testing.assert_allclose(b[[0, 1, 3]], plain.coefficients, rtol=1e-10)


def test_constant_columns_are_named_in_a_warning() -> None:
    x = pd.DataFrame(X, columns=["a", "b", "c"]).assign(one=1.0)
    with pytest.warns(UserWarning, match="as constant or as combinations .*: one$"):
        selection = select_penalty(x, Y, **FEW)
    assert selection.left_out == (3,)


def test_a_choice_at_the_end_of_the_path_has_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"the smallest alpha, .* smaller alphas, such as \[0"):
        select_penalty(X, X[:, 0], folds=3, alphas=5)
    noise = np.random.default_rng(0).normal(size=30)
    with pytest.warns(UserWarning, match=r"the largest alpha, .* alphas, such as \[100,30,10"):
        select_penalty(X, noise, folds=3, alphas=[0.1, 0.01], penalty="ridge")
    nothing = quiet(X, noise, folds=3, choice="one_standard_error")
    assert [d.message for d in nothing.notes()] == [
        "The choice leaves out all columns that have a penalty."
    ]


def test_few_digits_in_float64_have_a_warning_and_auto_adds_exactly(monkeypatch) -> None:
    x, y = hard_rows("near duplicates")
    options = {"penalty": "ridge", "alphas": [1e-9], "folds": 3}
    with pytest.warns(UserWarning, match="digits of the coefficients .* with accuracy exact"):
        rounded = select_penalty(x, y, accuracy="float64", **options)
    assert float(rounded.digits) < 8
    monkeypatch.setattr(sys.modules["linreg_lightning.algebra.least_squares"], "EXACT_LIMIT", 10)
    automatic = quiet(x, y, **options)
    assert automatic.accuracy == "exact"
    assert quiet(X, Y, **FEW).accuracy == "float64"
    assert float(automatic.digits) > 12


def test_rows_go_to_folds_by_number_group_or_block() -> None:
    groups = np.repeat(list("abcdefghij"), 3)
    of_group = folds_of_groups(torch.arange(10), 3, labels=list("abcdefghij"))
    expected = [
        ({}, folds_of_rows(0, 30, 3)),
        ({"fold_seed": 7}, folds_of_rows(0, 30, 3, 7)),
        ({"blocks": True}, folds_of_blocks(0, 30, 3, 30)),
        ({"groups": groups}, of_group.repeat_interleave(3)),
    ]
    for options, fold in expected:
        given = quiet(X, Y, WEIGHT, alphas=4, folds=fold.numpy())
        ours = quiet(X, Y, WEIGHT, **FEW, **options)
        assert torch.equal(ours.fold_errors, given.fold_errors)
    names = np.array(["x", "y", "z"])[FOLD % 3]
    assert torch.equal(
        quiet(X, Y, alphas=4, folds=names).fold_errors,
        quiet(X, Y, alphas=4, folds=FOLD % 3).fold_errors,
    )


def test_frames_give_names_and_pair_rows_by_label() -> None:
    x = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(30) + 5)
    y, weight = pd.Series(Y, x.index, name="price"), pd.Series(WEIGHT, x.index)
    fold = pd.Series(FOLD % 3, x.index)
    plain = quiet(X, Y, WEIGHT, folds=FOLD % 3, alphas=4, unpenalized=[1])
    order = np.random.default_rng(0).permutation(30)
    ours = quiet(
        x, y.iloc[order], weight.iloc[order], folds=fold.iloc[order], alphas=4, unpenalized=["b"]
    )
    assert torch.equal(ours.fold_errors, plain.fold_errors)
    assert torch.equal(ours.coefficients, plain.coefficients)
    assert repr(ours).startswith("<Lasso: price on a, b, c; 30 rows, r2 0.")
    assert torch.equal(ours.predict(x[["c", "b", "a"]]), plain.predict(X))
    with pytest.raises(InputError, match="no column 'c'"):
        ours.predict(x[["a", "b"]])
    with pytest.raises(InputError, match="unpenalized: 'B' is no column of x; did you mean 'b'"):
        select_penalty(x, y, unpenalized=["B"])


def test_tables_and_frames_show_all_of_a_few_terms() -> None:
    x, y, weight, _ = draw(targets=2)
    selection = quiet(x, y, weight, alphas=8, folds=3, choice="one_standard_error")
    frame = selection.to_frame("pandas")
    assert list(frame) == ["target", "term", "estimate", "in_folds", "enters_at"]
    assert (
        frame.estimate[frame.target == "y2"].tolist()[1:] == selection.coefficients[:, 1].tolist()
    )
    text = selection.summary()
    assert len(re.findall(r"^y[12] +x\d", text, re.MULTILINE)) == 12
    for count in (selection.coefficients != 0).sum(0).tolist():
        assert f"{count} of 6 coefficients are not 0" in text
    assert "<table" in selection.summary("html")
    assert list(quiet(x, y, penalty="ridge", **FEW).to_frame("pandas")) == list(frame)[:3]


def test_json_has_the_whole_path() -> None:
    selection = quiet(X, Y, penalty="elasticnet", l1_ratio=[0.5, 1.0], nested=True, **FEW)
    data = json.loads(json.dumps(selection.to_json()))
    assert (data["rows"], len(data["folds"]), sum(data["folds"])) == (30, 3, 30)
    target = data["targets"][0]
    assert target["chosen"]["alpha"] == float(selection.alpha)
    assert target["nested_error"] == selection.statistics["nested_error"]
    for r, path in enumerate(target["paths"]):
        assert path["l1_ratio"] == [0.5, 1.0][r]
        assert path["alphas"] == selection.alphas[r, :, 0].tolist()
        assert path["fold_errors"] == selection.fold_errors[r, :, 0].T.tolist()
        assert path["coefficients"]["x2"] == selection.path.coefficients[r, :, 1, 0].tolist()


def test_statistics_are_those_of_the_predictions() -> None:
    selection = quiet(X, Y, WEIGHT, intercept=False, **FEW)
    statistics, rest = selection.statistics, Y - selection.predict(X).numpy()
    total = np.average(Y**2, weights=WEIGHT)
    assert statistics["r2"] == pytest.approx(1 - np.average(rest**2, weights=WEIGHT) / total)
    assert statistics["cv_r2"] == pytest.approx(1 - statistics["cv_error"] / total)
    assert statistics["r2_uncentered"] is True
    assert statistics["nonzero"] == int((selection.coefficients != 0).sum())


def test_columns_without_a_penalty_are_never_0() -> None:
    selection = quiet(X, Y, unpenalized=[0, 2], **FEW)
    plain = ll.least_squares(X[:, [0, 2]], Y)
    first = selection.path.coefficients[0, 0, :, 0]
    assert first[1] == 0
    np.testing.assert_allclose(first[[0, 2]], plain.coefficients, rtol=1e-12)


@pytest.mark.parametrize("penalty", ["lasso", "ridge"])
def test_progress_rises_with_each_set_of_rows(
    penalty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_net, "_BLOCK_NUMBERS", 1)  # as with many columns
    sums = FoldSums(ExactGram, 3, 3)
    sums.update(Batch(*map(torch.as_tensor, (X, Y[:, None]))), torch.as_tensor(FOLD % 3))
    for nested in (False, True):
        seen: list[float] = []
        select(sums, SelectionOptions(penalty, alphas=20, nested=nested), progress=seen.append)
        assert seen == sorted(seen)
        assert len(set(seen)) >= 4 * (1 + 3 * nested)
        assert 0 < seen[0] < 0.5 / (1 + 3 * nested)
        assert seen[-1] == 1.0


def test_errors_that_fall_slowly_at_the_end_of_the_path_have_a_warning() -> None:
    # Of a target in large units, the default path of the elastic net ends far too early.
    with pytest.warns(UserWarning, match="the smallest alpha, and errors fall towards it"):
        select_penalty(X, Y * 1e6, folds=3, penalty="elasticnet")
