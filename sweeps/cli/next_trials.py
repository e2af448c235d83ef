"""The trials that a sweep would still propose, found on a copy of it that is thrown away."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from sweeps.config.space import Values
from sweeps.search.study import Study
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep, clear_stop
from sweeps.storage.trial_record import State, TrialSpec, read_spec, state_of
from sweeps.workers.propose import Proposer

MOST_COUNTED = 10_000
"""How many points of a finite space are counted at most; a sweep with more has enough to try."""


def next_proposals(sweep: Sweep, most: int) -> list[TrialSpec]:
    """Return the next new trials, as a worker proposes them; the sweep need not exist.

    Args:
        sweep: the sweep as `run` would make it.
        most: how many to return at most.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = SweepPaths(Path(folder) / sweep.paths.name)
        _copy(sweep.paths, copy)
        study = Study(copy, sweep.experiment, stale_after=60.0)
        proposer = Proposer(replace(sweep, paths=copy), study, job="plan", threads=1)
        claims = itertools.islice(iter(proposer.propose, None), most)
        return [read_spec(claim.trial) for claim in claims if claim is not None]


def _copy(paths: SweepPaths, copy: SweepPaths) -> None:
    """Make a copy of what proposals depend on; a worker only reads the trials that exist."""
    copy.trials_folder.mkdir(parents=True)
    for file, copied in (
        (paths.study, copy.study),
        (paths.exhausted, copy.exhausted),
        (paths.retried, copy.retried),
    ):
        if file.exists():
            shutil.copy(file, copied)
    for trial in paths.trials():
        copy.trial(trial.number, trial.signature).folder.symlink_to(trial.folder.absolute())
    clear_stop(copy)  # as `run` does: failed trials are tried again


def trials_left(sweep: Sweep) -> int:
    """Return how many trials must still end, not counting those that there is nothing to try for.

    Trials that run now are included. `enqueued` tries only what is enqueued, and a finite space has
    only so many configurations.
    """
    progress = sweep.progress()
    untried = _untried(sweep)
    if untried is None or progress.to_propose > MOST_COUNTED:
        return progress.left
    new = sum(1 for _ in itertools.islice(untried, progress.to_propose))
    return progress.left - progress.to_propose + new


def _untried(sweep: Sweep) -> Iterator[str] | None:
    """Return the signatures that can still be tried; None if they cannot be listed."""
    if sweep.experiment.sampler.kind == "enqueued":
        return _new_signatures(sweep, sweep.resolved.enqueued)
    points = sweep.resolved.space.points()
    if points is None:
        return None
    return _new_signatures(sweep, itertools.chain(sweep.resolved.enqueued, points))


def _new_signatures(sweep: Sweep, points: Iterator[Values] | tuple[Values, ...]) -> Iterator[str]:
    trials = sweep.paths.trials()
    seen = {trial.signature for trial in trials if state_of(trial) is not State.FAILED}
    for values in points:
        try:
            signature = sweep.resolved.signature_of(values)
        except ValidationError:  # the trainer refuses this combination
            continue
        if signature not in seen:
            seen.add(signature)
            yield signature
