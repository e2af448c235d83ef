"""The three numbers of trials: reserved, ended and left."""

import pytest

from sweeps.errors import InputError
from sweeps.promotion.confirm import best_trials
from sweeps.storage.progress import (
    Exhausted,
    exhausted_reason,
    progress_of,
    progress_of_states,
    record_exhausted,
)
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, TrialResult, write_result
from sweeps.workers.claims import claim_after
from tests.sweeps.conftest import MakeSweep, worker_of


@pytest.fixture
def running_sweep(make_sweep: MakeSweep) -> Sweep:
    """Of eight trials, one is complete, one pruned, one failed, one running, one released."""
    sweep = make_sweep(trials=8)
    worker = worker_of(sweep)
    for state in (State.COMPLETE, State.PRUNED, State.FAILED):
        claim = worker._next_claim()
        write_result(claim.trial, TrialResult(state, 0.5, 1, 1))
        claim.trial.settled.touch()
    worker._next_claim()
    worker_of(sweep)._propose().release()
    return sweep


def test_reserved_ended_and_left_are_three_numbers(running_sweep: Sweep) -> None:
    progress = running_sweep.progress()
    assert (progress.planned, progress.reserved, progress.ended) == (8, 4, 2)
    assert (progress.left, progress.to_propose) == (6, 4)


def test_a_released_trial_can_be_claimed(running_sweep: Sweep) -> None:
    assert running_sweep.unclaimed_trials() == 1 + 4
    record_exhausted(running_sweep.paths, Exhausted.NOTHING_NEW)
    assert running_sweep.unclaimed_trials() == 1
    orphan = running_sweep.paths.trials()[-1]
    claim_after(orphan, 1, "job")
    assert running_sweep.unclaimed_trials() == 0


def test_with_more_trials_than_planned_none_is_left(running_sweep: Sweep) -> None:
    progress = progress_of(running_sweep.paths, planned=1)
    assert (progress.left, progress.to_propose) == (0, 0)


@pytest.mark.parametrize("reason", Exhausted)
def test_the_reason_of_an_exhausted_sweep_is_read_as_it_was_written(
    make_sweep: MakeSweep, reason: Exhausted
) -> None:
    sweep = make_sweep()
    assert exhausted_reason(sweep.paths) is None
    record_exhausted(sweep.paths, reason)
    assert exhausted_reason(sweep.paths) is reason


def test_promote_does_not_count_a_running_trial_as_ended(running_sweep: Sweep) -> None:
    with pytest.raises(InputError, match="is not over: 2 of 8 trials have ended"):
        best_trials(running_sweep)


def test_for_people_a_trial_with_a_result_has_ended_settled_or_not() -> None:
    states = [State.RUNNING, State.COMPLETE, State.PRUNED, State.DIVERGED, State.FAILED]
    progress = progress_of_states(states, planned=8)
    assert (progress.planned, progress.reserved, progress.ended) == (8, 4, 3)
