"""A sweep of many trials, written by the project's own storage code, without training any."""

from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import (
    State,
    TrialResult,
    TrialSpec,
    append_row,
    write_continued,
    write_result,
    write_spec,
)
from sweeps.trainer import FinishedEpoch
from sweeps.workers.claims import claim_after

EPOCHS = 3


def write_trial(sweep: Sweep, number: int, state: State, value: float, end: int) -> None:
    """Write one trial; of one that runs, this process is the worker.

    Args:
        sweep: its sweep.
        number: its number.
        state: its state.
        value: the objective at each of its epochs.
        end: when its last epoch ended, in seconds.
    """
    trial = sweep.paths.trial(number, f"{number:08x}")
    trial.folder.mkdir(parents=True)
    values = {
        "training.optimizer": "adam",
        "training.batch_size": 4,
        "training.learning_rate": 0.01,
    }
    write_spec(trial, TrialSpec(number, values, {"training": {}}, EPOCHS, 1))
    claim = claim_after(trial, 0, "job")
    assert claim is not None
    write_continued(claim.attempt, 0)
    epochs = EPOCHS if state is State.COMPLETE else 1
    for epoch in range(1, epochs + 1):
        at = 1000 * (end - epochs + epoch)
        append_row(claim.attempt, FinishedEpoch(epoch, {"val/score": value}, at, 10.0))
    if state is not State.RUNNING:
        known = None if state is State.FAILED else value
        reason = "it broke" if state is State.FAILED else ""
        write_result(trial, TrialResult(state, known, 1, epochs, reason))
        trial.settled.touch()


def write_trials(sweep: Sweep, trials: int) -> None:
    """Write trials in every state: mostly complete and pruned ones, and two that run."""
    for number in range(trials):
        state = State.PRUNED if number % 3 == 0 else State.COMPLETE
        if number in {10, 20, 30, 40}:
            state = State.FAILED
        elif number >= trials - 2:
            state = State.RUNNING
        write_trial(sweep, number, state, ((number * 7919) % 9973) / 9973, number + EPOCHS)
