"""The gate, on scores alone."""

from collections.abc import Mapping

import pytest

from sweeps.promotion.gate import (
    Check,
    Decision,
    ModelScores,
    check_beats,
    check_floors,
    confidence_interval,
    describe_evidence,
)


def model(patients: Mapping[str, float], spread: float = 0.01, **scores: float) -> ModelScores:
    return ModelScores("version 1", scores, patients, spread)


def by_patient(*values: float) -> dict[str, float]:
    return {f"case_{index}": value for index, value in enumerate(values)}


def test_with_few_patients_each_must_gain_more_than_the_deviation_over_seeds() -> None:
    champion = model(by_patient(0.5, 0.6, 0.7))
    assert check_beats(model(by_patient(0.52, 0.62, 0.72)), champion, "test/ssim", 1).passed
    check = check_beats(model(by_patient(0.6, 0.7, 0.705)), champion, "test/ssim", 1)
    assert not check.passed  # a large mean gain, but the last patient gained half of the deviation
    assert "case_2 +0.0050" in check.text
    assert "and for each patient more than 0.0100 is required" in check.text


def test_the_larger_of_the_two_deviations_counts() -> None:
    better = by_patient(0.52, 0.62, 0.72)
    assert not check_beats(
        model(better), model(by_patient(0.5, 0.6, 0.7), 0.03), "test/ssim", 1
    ).passed
    assert not check_beats(
        model(better, 0.03), model(by_patient(0.5, 0.6, 0.7)), "test/ssim", 1
    ).passed


def test_with_many_patients_the_whole_interval_must_be_above_the_deviation() -> None:
    champion = model(by_patient(*[0.5] * 8))
    steady = model(by_patient(*[0.52, 0.525] * 4))
    scattered = model(by_patient(*[0.4, 0.65] * 4))
    assert check_beats(steady, champion, "test/ssim", 1).passed
    check = check_beats(scattered, champion, "test/ssim", 1)
    assert not check.passed
    assert "95 % interval" in check.text


def test_if_lower_is_better_a_lower_value_is_a_gain() -> None:
    champion = model(by_patient(0.5, 0.6, 0.7))
    assert check_beats(model(by_patient(0.4, 0.5, 0.6)), champion, "test/loss", -1).passed
    assert not check_beats(model(by_patient(0.6, 0.7, 0.8)), champion, "test/loss", -1).passed


def test_an_equal_model_is_not_better() -> None:
    same = model(by_patient(0.5, 0.6, 0.7), 0.0)
    assert not check_beats(same, same, "test/ssim", 1).passed


def test_a_floor_is_reached_or_missed_or_its_metric_was_not_measured() -> None:
    candidate = ModelScores("x", {"test/ssim": 0.6, "test/usage": 0.05}, {}, 0.0)
    floors = {"test/ssim": 0.6, "test/usage": 0.1, "test/psnr": 20.0}
    assert [check.passed for check in check_floors(candidate, floors)] == [True, False, False]


def test_the_interval_is_reproducible_and_contains_the_mean() -> None:
    gains = [0.01, 0.03, 0.02, 0.05, 0.04]
    low, high = confidence_interval(gains)
    assert (low, high) == confidence_interval(gains)
    assert 0.01 <= low < 0.03 < high <= 0.05


@pytest.mark.parametrize(("patients", "little"), [(1, True), (4, True), (5, False)])
def test_a_decision_warns_if_the_patients_are_few(patients: int, little: bool) -> None:
    assert ("which is little" in describe_evidence(patients, 3, "")) is little


def test_the_reason_of_a_version_names_what_was_checked() -> None:
    passed, failed = Check(True, "a is 1"), Check(False, "b is 2")
    assert Decision([passed, passed], "").summary() == (
        "passed every check of the promotion (a is 1; a is 1)"
    )
    assert Decision([passed, failed], "", forced="why not", by="ada").summary() == (
        "promoted by ada although a check failed (b is 2): why not"
    )
    assert Decision([], "").summary().startswith("promoted without a check")
