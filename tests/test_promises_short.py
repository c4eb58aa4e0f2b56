"""The first fits of the campaign in tests/faults, which compares promises with rationals."""

from faults.test_promises import campaign


def test_no_promise_is_above_the_truth_in_a_hundred_fits() -> None:
    counts, wrong = campaign(0, 100)
    assert wrong == []
    assert counts["right"] > 20
    assert counts["warned"] > 20
