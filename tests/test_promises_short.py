"""The first fits of the campaign in tests/faults, which compares promises with rationals."""

from faults.test_promises import campaign


def test_no_promise_is_above_the_truth_in_two_hundred_fits() -> None:
    counts, wrong = campaign(0, 200)
    assert wrong == []
    assert counts["right"] > 40
    assert counts["warned"] > 40
