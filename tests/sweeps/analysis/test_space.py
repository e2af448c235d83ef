"""Values at the edge of the space, and how choices compare."""

import pytest

from sweeps.analysis.choices import choice_findings
from sweeps.analysis.edges import edge_findings
from sweeps.analysis.finding import Kind
from sweeps.storage.trial_record import State
from tests.sweeps.analysis.records import complete, point, pruned, sweep_of, trial

BEYOND = "better values may lie outside the search space."


def edge(best: object, other: object, space: object = None) -> str:
    sweep = sweep_of(complete(0, 0.9, values=best), complete(1, 0.1, values=other), space=space)
    return "".join(finding.text for finding in edge_findings(sweep))


def test_the_smallest_choice_is_at_the_edge() -> None:
    text = edge(point(batch_size=8), point(batch_size=16))
    assert text == f"The best trial has batch_size 8 (the smallest of 8, 16, 32): {BEYOND}"


def test_a_choice_in_the_middle_is_not_at_the_edge() -> None:
    assert edge(point(batch_size=16), point(batch_size=8)) == ""


def test_nothing_is_said_of_a_value_that_all_complete_trials_had() -> None:
    assert edge(point(batch_size=8), point(batch_size=8, optimizer="sgd")) == ""


def test_one_complete_trial_says_nothing_of_the_edge() -> None:
    sweep = sweep_of(complete(0, 0.9, values=point(batch_size=8)), pruned(1, 0.1))
    assert list(edge_findings(sweep)) == []


@pytest.mark.parametrize(
    ("rate", "where"),
    [
        (1e-2, "at the upper end of the range 0.0001 to 0.01 for optimizer adam"),
        (9.5e-3, "close to the upper end of the range 0.0001 to 0.01 for optimizer adam"),
        (1.05e-4, "close to the lower end of the range 0.0001 to 0.01 for optimizer adam"),
        (1e-3, ""),
    ],
)
def test_a_range_is_that_of_the_case(rate: float, where: str) -> None:
    text = edge(point(rate=rate), point(rate=2e-3))
    assert where in text
    assert bool(text) == bool(where)


def test_the_values_of_another_case_do_not_count() -> None:
    assert edge(point(rate=1e-2), point("sgd", rate=0.5)) == ""


def test_several_edges_are_one_sentence() -> None:
    text = edge(point(batch_size=32, rate=1e-2), point(batch_size=8, rate=1e-3))
    assert "batch_size 32 (the largest of 8, 16, 32) and rate 0.01 (at the upper end" in text


@pytest.mark.parametrize(
    ("domain", "best", "other"),
    [
        ([0, 1, 2], 0, 1),  # nothing lies below 0
        ([True, False], True, False),
        (["a", "b"], "a", "b"),
        ([1, "auto"], 1, "auto"),
    ],
)
def test_what_has_no_outside_has_no_edge(domain: object, best: object, other: object) -> None:
    assert edge({"t.x": best}, {"t.x": other}, {"t.x": domain}) == ""


def test_a_seed_has_no_edge() -> None:
    assert edge({"t.seed": 0}, {"t.seed": 7}, {"t.seed": {"low": 1, "high": 9}}) == ""


def test_choices_are_compared_by_best_and_median_the_best_first() -> None:
    sgd, adam = point("sgd"), point("adam")
    sweep = sweep_of(
        complete(0, 0.7, values=sgd),
        complete(1, 0.4, values=adam),
        complete(2, 0.9, values=adam),
        complete(3, 0.6, values=adam),
        pruned(4, 0.95, values=sgd),
        trial(5, State.FAILED, values=sgd),
        trial(6, State.RUNNING, [0.99], sgd),
    )
    (finding,) = choice_findings(sweep)
    assert finding.kind is Kind.CHOICES
    assert finding.text == (
        "optimizer adam: best 0.9000, median 0.6000 (3 complete); sgd: 0.7000 (1 complete, "
        "1 pruned, 1 failed)."
    )


def test_the_lowest_choice_is_first_if_the_objective_is_minimized() -> None:
    first = complete(0, 0.7, values=point(batch_size=8), best=min)
    second = complete(1, 0.2, values=point(batch_size=32), best=min)
    (finding,) = choice_findings(sweep_of(first, second, maximize=False))
    assert finding.kind is Kind.NUMBERS
    assert finding.text == "batch_size 32: 0.2000 (1 complete); 8: 0.7000 (1 complete)."


def test_a_choice_without_a_complete_trial_is_told_beside_others() -> None:
    values = [point(batch_size=size) for size in (8, 16, 32)]
    first, second = (complete(at, 0.1, values=values[at]) for at in (0, 1))
    (finding,) = choice_findings(sweep_of(first, second, pruned(2, 0.1, values=values[2])))
    assert finding.text.endswith("; 32: no complete trial (1 pruned).")


def test_one_choice_alone_is_not_compared() -> None:
    sweep = sweep_of(complete(0, 0.7), pruned(1, 0.9, values=point("sgd", 8)))
    assert list(choice_findings(sweep)) == []
