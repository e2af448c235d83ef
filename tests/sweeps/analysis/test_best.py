"""The best trial, its margin, and the spread over seeds."""

from dataclasses import replace

import pytest

from sweeps.analysis.best import best_findings
from sweeps.analysis.finding import score
from sweeps.analysis.trials import SeedResults
from sweeps.storage.trial_record import State, TrialSnapshot
from tests.sweeps.analysis.records import complete, point, pruned, sweep_of, trial

UNKNOWN = "How much the value changes with another random seed is not known yet."


def texts(*snapshots: TrialSnapshot, maximize: bool = True) -> list[str]:
    return [each.text for each in best_findings(sweep_of(*snapshots, maximize=maximize))]


def with_seeds(*results: TrialSnapshot) -> str:
    sweep = sweep_of(complete(0, 0.5), complete(1, 0.7, values=point("sgd")))
    *_, margin = best_findings(replace(sweep, seeds=SeedResults("t.seed", results)))
    return margin.text


def seed(number: int, *curve: float, state: State = State.COMPLETE) -> TrialSnapshot:
    return trial(number, state, curve, point("sgd") | {"t.seed": number})


def test_without_a_complete_trial_nothing_is_said() -> None:
    assert texts() == []
    assert texts(pruned(0, 0.5), trial(1, State.FAILED), trial(2, State.DIVERGED, [0.1])) == []


def test_a_single_complete_trial_has_no_margin() -> None:
    best, margin = texts(complete(3, 0.1, 0.61), pruned(4, 0.9))
    assert best == (
        "The best trial is 0003-aaaaaaaa: score 0.6100 with optimizer adam, batch_size 16, "
        "rate 0.001."
    )
    assert margin == (
        f"Only one trial is complete, so there is no second one to compare it with. {UNKNOWN}"
    )


def test_the_margin_is_the_distance_to_the_second_best() -> None:
    margin = texts(complete(0, 0.5), complete(1, 0.7), complete(2, 0.68))[1]
    second = "the second best (0002-aaaaaaaa)"
    assert margin == f"The best trial is 0.0200 better than {second}. {UNKNOWN}"


def test_the_lowest_value_is_the_best_if_the_objective_is_minimized() -> None:
    best, margin = texts(complete(0, 0.5, best=min), complete(1, 0.7, best=min), maximize=False)
    assert "0000-aaaaaaaa: score 0.5000" in best
    assert "0.2000 better than the second best (0001-aaaaaaaa)" in margin


def test_a_tie_is_called_one() -> None:
    best, margin = texts(complete(1, 0.5), complete(0, 0.5))
    assert "0000" in best
    second = "the second best (0001-aaaaaaaa)"
    assert margin == f"The best trial and {second} have the same value. {UNKNOWN}"


def test_a_margin_larger_than_the_deviation_over_seeds_is_said_to_be() -> None:
    text = with_seeds(seed(1, 0.6), seed(2, 0.7), seed(3, 0.8))
    assert "With 3 new random seeds the best configuration reaches 0.7000 ± 0.1000" in text
    assert text.endswith("the two trials differ by more than this deviation.")


def test_a_margin_smaller_than_the_deviation_over_seeds_may_be_chance() -> None:
    text = with_seeds(seed(1, 0.1), seed(2, 0.9))
    assert text.endswith("differ by no more than this deviation, so it may be chance.")


def test_only_complete_trainings_of_the_same_configuration_count() -> None:
    other = trial(1, State.COMPLETE, [0.9], point("adam") | {"t.seed": 1})
    assert with_seeds(other, seed(2, 0.7), seed(3, state=State.FAILED)).endswith(UNKNOWN)


def test_a_seed_that_diverges_is_told() -> None:
    text = with_seeds(seed(1, 0.7), seed(2, 0.7), seed(3, state=State.DIVERGED))
    assert text.endswith("With 3 new random seeds the best configuration diverged once.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.70123, "0.7012"), (-2.5, "-2.5000"), (0.00012, "0.00012")],
)
def test_a_small_value_is_not_shown_as_nothing(value: float, text: str) -> None:
    assert score(value) == text
