"""The importances of a sweep's hyperparameters, computed once and stored in its folder."""

from collections.abc import Sequence

from sweeps.analysis.importance import (
    FEWEST,
    RELIABLE,
    Importances,
    read_importances,
    sample_of,
    write_importances,
)
from sweeps.analysis.trials import trials_of
from sweeps.search.study import Evaluation, importances
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import TrialSnapshot


def store_importances(sweep: Sweep, snapshots: Sequence[TrialSnapshot]) -> None:
    """Compute and store the importances, if there are enough trials and they are not stored yet.

    The trials of a confirmation were chosen, so they say nothing about the space.
    """
    complete = trials_of(sweep, snapshots).complete
    if sweep.plan.confirms is not None or len(complete) < FEWEST:
        return
    if read_importances(sweep.paths, len(complete)) is None:
        evaluations = _evaluations(sweep, snapshots)
        shares = importances(sweep.experiment, evaluations)
        write_importances(sweep.paths, Importances(len(complete), len(evaluations), shares))


def plotted_evaluations(
    sweep: Sweep, snapshots: Sequence[TrialSnapshot]
) -> tuple[list[Evaluation], bool]:
    """Return the complete trials for plots, and whether they are enough to plot importances."""
    evaluations = _evaluations(sweep, snapshots)
    return evaluations, sweep.plan.confirms is None and len(evaluations) >= RELIABLE


def _evaluations(sweep: Sweep, snapshots: Sequence[TrialSnapshot]) -> list[Evaluation]:
    complete = trials_of(sweep, snapshots).complete
    return [Evaluation(trial.values, trial.value) for trial in sample_of(complete)]
