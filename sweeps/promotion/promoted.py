"""Whether the best model of a sweep has been promoted; known from its folders, without MLflow."""

import json
from collections.abc import Iterator

from sweeps.errors import EnvironmentFailure
from sweeps.promotion.confirm import best_trials, confirmation_trials
from sweeps.promotion.promotable import why_not_promotable
from sweeps.storage.promotion_paths import ScoredPaths, candidate_paths, compared_champions
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, state_of


def is_promoted(sweep: Sweep) -> bool:
    """Return whether one of the trials that would be promoted now was promoted already.

    It was if its package was scored again as a registered version, which a promotion does after it
    has registered the version. A rollback does not change this.
    """
    if why_not_promotable(sweep) or not sweep.is_over():
        return False
    if not any(state_of(trial) is State.COMPLETE for trial in sweep.paths.trials()):
        return False
    champions = {_package(paths) for paths in compared_champions(sweep.paths)}
    return any(_package(paths) in champions for paths in _candidates(sweep))


def _candidates(sweep: Sweep) -> Iterator[ScoredPaths]:
    """Yield the scored candidates of the trials that are the best ones now."""
    if not sweep.paths.confirmation.plan.exists():
        return
    try:
        confirmed = [
            confirmation
            for trial in best_trials(sweep)
            for confirmation in confirmation_trials(sweep, sweep.paths.confirmation, trial)
        ]
    except EnvironmentFailure:  # one of them has not been trained again yet
        return
    for trial in confirmed:
        paths = candidate_paths(sweep.paths, trial.name)
        if paths.scores.exists():
            yield paths


def _package(paths: ScoredPaths) -> str:
    """Return the digest of the package that was scored."""
    return str(json.loads(paths.scores.read_text(encoding="utf-8"))["package"])
