"""The gate, on figures alone."""

from collections.abc import Mapping

import pytest

from sweeps.promotion.gate import (
    Figures,
    check_beats,
    check_floors,
    confidence_interval,
    describe_evidence,
)


def figures(patients: Mapping[str, float], spread: float = 0.01, **scores: float) -> Figures:
    return Figures("version 1", scores, patients, spread)


def few(*values: float) -> dict[str, float]:
    return {f"case_{at}": value for at, value in enumerate(values)}


def test_with_few_patients_each_must_gain_more_than_the_seeds_scatter() -> None:
    champion = figures(few(0.5, 0.6, 0.7))
    assert check_beats(figures(few(0.52, 0.62, 0.72)), champion, "test/ssim", 1).passed
    check = check_beats(figures(few(0.6, 0.7, 0.705)), champion, "test/ssim", 1)
    assert not check.passed  # the mean gained a lot, the last patient half of the spread
    assert "case_2 +0.0050" in check.text
    assert "spread of 0.0100" in check.text


def test_the_larger_of_the_two_spreads_counts() -> None:
    better = few(0.52, 0.62, 0.72)
    assert not check_beats(
        figures(better), figures(few(0.5, 0.6, 0.7), 0.03), "test/ssim", 1
    ).passed
    assert not check_beats(
        figures(better, 0.03), figures(few(0.5, 0.6, 0.7)), "test/ssim", 1
    ).passed


def test_with_many_patients_the_interval_of_the_mean_gain_must_clear_the_spread() -> None:
    champion = figures(few(*[0.5] * 8))
    steady = figures(few(*[0.52, 0.525] * 4))
    scattered = figures(few(*[0.4, 0.65] * 4))
    assert check_beats(steady, champion, "test/ssim", 1).passed
    check = check_beats(scattered, champion, "test/ssim", 1)
    assert not check.passed
    assert "95 % interval" in check.text


def test_where_less_is_better_a_loss_of_figures_is_a_gain() -> None:
    champion = figures(few(0.5, 0.6, 0.7))
    assert check_beats(figures(few(0.4, 0.5, 0.6)), champion, "test/loss", -1).passed
    assert not check_beats(figures(few(0.6, 0.7, 0.8)), champion, "test/loss", -1).passed


def test_an_equal_model_is_not_better() -> None:
    same = figures(few(0.5, 0.6, 0.7), 0.0)
    assert not check_beats(same, same, "test/ssim", 1).passed


def test_a_floor_is_reached_or_not_or_was_not_measured() -> None:
    candidate = Figures("x", {"test/ssim": 0.6, "test/usage": 0.05}, {}, 0.0)
    floors = {"test/ssim": 0.6, "test/usage": 0.1, "test/psnr": 20.0}
    assert [check.passed for check in check_floors(candidate, floors)] == [True, False, False]


def test_the_interval_is_the_same_each_time_and_holds_the_mean() -> None:
    gains = [0.01, 0.03, 0.02, 0.05, 0.04]
    low, high = confidence_interval(gains)
    assert (low, high) == confidence_interval(gains)
    assert 0.01 <= low < 0.03 < high <= 0.05


@pytest.mark.parametrize(("patients", "little"), [(1, True), (4, True), (5, False)])
def test_a_decision_says_how_little_it_stands_on(patients: int, little: bool) -> None:
    assert ("which is little" in describe_evidence(patients, 3, "")) is little
