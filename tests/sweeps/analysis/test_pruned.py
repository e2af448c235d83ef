"""What pruning saved, and which trials it may have stopped too early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.analysis.finding import Kind
from sweeps.analysis.pruned import pruned_ahead, pruned_findings
from sweeps.search.pruning import best_epoch
from tests.sweeps.analysis.records import complete, pruned, sweep_of

values = st.sampled_from([0.1, 0.2, 0.3, 0.4])


def test_without_pruned_trials_nothing_is_said() -> None:
    assert list(pruned_findings(sweep_of(complete(0, 0.1, 0.2, 0.3, 0.4)))) == []


def test_a_pruned_trial_is_compared_at_its_last_epoch() -> None:
    sweep = sweep_of(
        complete(0, 0.1, 0.2, 0.3, 0.9),
        complete(1, 0.3, 0.6, 0.7, 0.95),
        pruned(2, 0.05, 0.5),
        pruned(3, 0.05),
    )
    ahead, saved = pruned_findings(sweep)
    assert ahead.kind is Kind.PRUNED_AHEAD
    assert ahead.text == (
        "1 of 2 pruned trials was ahead of a complete trial at the same epoch and might have ended "
        "better than it: 0002-aaaaaaaa had 0.5000 after 2 epochs, when 0000-aaaaaaaa (0.9000 in "
        "the end) had 0.2000. No pruned trial was ahead of the best trial at the same epoch."
    )
    assert saved.text == (  # 2 and 3 epochs of 10 s
        "Pruning stopped 2 of 4 trials early and saved about 50 s: the epochs of all trials took "
        "1 min 50 s instead of 2 min 40 s."
    )


def test_one_that_was_ahead_of_the_best_trial_is_the_example() -> None:
    sweep = sweep_of(complete(0, 0.1, 0.9), complete(1, 0.0, 0.5), pruned(2, 0.05), pruned(3, 0.2))
    text = next(pruned_findings(sweep)).text
    assert "2 of 2 pruned trials were ahead" in text
    assert "0003-aaaaaaaa had 0.2000 after 1 epoch, when 0000-aaaaaaaa" in text
    assert "No pruned trial" not in text


def test_equal_is_not_ahead() -> None:
    assert pruned_ahead(sweep_of(complete(0, 0.2, 0.9), pruned(1, 0.2))) == []


@pytest.mark.parametrize("maximize", [True, False])
@given(
    complete_curves=st.lists(st.lists(values, min_size=4, max_size=4), max_size=5),
    pruned_curves=st.lists(st.lists(values, max_size=3), max_size=5),
)
def test_the_search_finds_what_a_comparison_of_all_pairs_finds(
    maximize: bool, complete_curves: list[list[float]], pruned_curves: list[list[float]]
) -> None:
    best = max if maximize else min
    finished = [complete(n, *curve, best=best) for n, curve in enumerate(complete_curves)]
    stopped = [
        pruned(100 + n, *curve, best=lambda c: best(c, default=0.0))
        for n, curve in enumerate(pruned_curves)
    ]
    sweep = sweep_of(*finished, *stopped, maximize=maximize)
    expected = {}
    for each in stopped:
        epoch = len(each.rows)
        for rank, other in enumerate(sweep.complete if epoch else []):
            own = best(row.metrics["score"] for row in each.rows)
            then = best_epoch(other.curve, sweep.objective, epoch)[1]
            if own != then and best(own, then) == own:
                expected[each.paths.name] = (rank, own, then)
                break
    found = {a.pruned.name: (a.rank, a.value, a.then) for a in pruned_ahead(sweep)}
    assert found == expected
