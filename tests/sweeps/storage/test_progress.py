"""Three numbers of trials: reserved, ended and left."""

import pytest

from sweeps.errors import InputError
from sweeps.promotion.confirm import best_trials
from sweeps.storage.progress import Exhausted, exhausted_reason, progress_of, record_exhausted
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, TrialResult, write_result
from sweeps.workers.claims import claim_after
from tests.sweeps.conftest import MakeSweep, worker_of


@pytest.fixture
def under_way(make_sweep: MakeSweep) -> Sweep:
    """Of eight trials one is complete, one pruned, one failed, one runs, one was given up."""
    sweep = make_sweep(trials=8)
    worker = worker_of(sweep)
    for state in (State.COMPLETE, State.PRUNED, State.FAILED):
        claim = worker._next_claim()
        write_result(claim.trial, TrialResult(state, 0.5, 1, 1))
        claim.trial.settled.touch()
    worker._next_claim()
    given_up = worker_of(sweep)._propose()
    given_up.release()
    return sweep


def test_reserved_ended_and_left_are_three_numbers(under_way: Sweep) -> None:
    progress = under_way.progress()
    assert (progress.planned, progress.reserved, progress.ended) == (8, 4, 2)
    assert (progress.left, progress.to_propose) == (6, 4)


def test_a_trial_that_was_given_up_is_there_to_be_taken(under_way: Sweep) -> None:
    assert under_way.unclaimed_trials() == 1 + 4
    record_exhausted(under_way.paths, Exhausted.NOTHING_NEW)
    assert under_way.unclaimed_trials() == 1
    orphan = under_way.paths.trials()[-1]
    claim_after(orphan, 1, "job")
    assert under_way.unclaimed_trials() == 0


def test_more_than_was_asked_for_leaves_nothing(under_way: Sweep) -> None:
    progress = progress_of(under_way.paths, planned=1)
    assert (progress.left, progress.to_propose) == (0, 0)


@pytest.mark.parametrize("reason", Exhausted)
def test_why_nothing_is_left_is_read_as_it_was_written(
    make_sweep: MakeSweep, reason: Exhausted
) -> None:
    sweep = make_sweep()
    assert exhausted_reason(sweep.paths) is None
    record_exhausted(sweep.paths, reason)
    assert exhausted_reason(sweep.paths) is reason


def test_promote_counts_no_running_trial_as_ended(under_way: Sweep) -> None:
    with pytest.raises(InputError, match="is not over: 2 of 8 trials have ended"):
        best_trials(under_way)
