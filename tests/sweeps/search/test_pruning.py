from hypothesis import given
from hypothesis import strategies as st

from sweeps.config.experiment import Objective, Pruner
from sweeps.search.pruning import best_epoch, is_rung, should_prune

HALVING = Pruner(kind="successive_halving", min_epochs=2, reduction=3, min_rivals=2)
MAXIMIZE, MINIMIZE = Objective(metric="m"), Objective(metric="m", direction="minimize")
CURVES = st.dictionaries(st.integers(1, 20), st.floats(-1, 1), min_size=1)


def test_each_rung_is_a_multiple_of_the_one_before() -> None:
    assert [epoch for epoch in range(1, 60) if is_rung(HALVING, epoch)] == [2, 6, 18, 54]
    assert not any(is_rung(Pruner(kind="none"), epoch) for epoch in range(60))


def test_the_best_third_continues() -> None:
    rivals = [{2: value / 10} for value in range(8)]
    assert not should_prune({2: 0.55}, rivals, 2, HALVING, MAXIMIZE)
    assert should_prune({2: 0.45}, rivals, 2, HALVING, MAXIMIZE)
    assert should_prune({2: 0.55}, rivals, 2, HALVING, MINIMIZE)


def test_no_trial_is_pruned_before_there_are_enough_rivals() -> None:
    assert not should_prune({2: 0.0}, [{2: 1.0}, {1: 1.0}], 2, HALVING, MAXIMIZE)


def test_a_trial_is_compared_by_its_best_epoch_so_far() -> None:
    rivals = [{1: 0.5, 2: 0.4, 3: 0.9}, {1: 0.1, 2: 0.2}]
    assert not should_prune({1: 0.6, 2: 0.1}, rivals, 2, HALVING, MAXIMIZE)


@given(CURVES)
def test_the_best_epoch_is_the_first_of_the_highest(curve: dict[int, float]) -> None:
    epoch, value = best_epoch(curve, MAXIMIZE)
    assert value == max(curve.values())
    assert epoch == min(e for e, v in curve.items() if v == value)


@given(CURVES, st.lists(CURVES, max_size=8))
def test_the_best_trial_is_never_pruned(
    curve: dict[int, float], rivals: list[dict[int, float]]
) -> None:
    curve = curve | {2: 2.0}
    assert not should_prune(curve, rivals, 2, HALVING, MAXIMIZE)
