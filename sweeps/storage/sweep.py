"""A sweep: an experiment that is being run, in a folder that is all its workers share."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeps.config.cluster import Cluster
from sweeps.config.experiment import Experiment
from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.config.resolve import ResolvedExperiment, resolve
from sweeps.config.toml import flatten, validate
from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.progress import (
    Exhausted,
    Progress,
    exhausted_reason,
    is_over,
    progress_of,
    unclaimed_trials,
)
from sweeps.storage.trial_record import State, state_of

STOPPED_BY_HAND = "by hand (sweeps stop)"
"""The reason of a stop that a person asked for."""
_MADE = "made"
"""The key in `sweep.json` with the time when the sweep was made: copies of files lose theirs."""


def checked_out_commit() -> str:
    """Return the commit checked out here, with `-dirty` if files differ; empty outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


@dataclass(frozen=True)
class Plan:
    """The settings of a sweep that its workers follow; they may change from one run to the next.

    Attributes:
        experiment: what to try.
        cluster: where and how jobs run.
        fingerprint: the fingerprint of the data, from the trainer.
        command: the command that resumes the sweep, as arguments of `sweeps`.
        confirms: for a confirmation, the name of the sweep whose best trials it trains again;
            otherwise None.
        commit: the commit of the code.
    """

    experiment: Experiment
    cluster: Cluster
    fingerprint: str
    command: tuple[str, ...] = ()
    confirms: str | None = None
    commit: str = field(default_factory=checked_out_commit)


@dataclass(frozen=True)
class Sweep:
    """An open sweep."""

    paths: SweepPaths
    plan: Plan

    @cached_property
    def resolved(self) -> ResolvedExperiment:
        """The experiment with its trainer and its search space."""
        return resolve(self.plan.experiment, str(self.paths.experiment))

    @property
    def experiment(self) -> Experiment:
        """The experiment of the current plan."""
        return self.plan.experiment

    @property
    def claim_seconds(self) -> float:
        """Seconds without a heartbeat after which another worker may take over a trial."""
        return self.plan.cluster.claim_seconds

    def proposal_lock(self) -> Lock:
        """Return the lock under which trials are proposed."""
        return Lock(self.paths.lock("propose"), stale_after=self.claim_seconds)

    def is_stopped(self) -> bool:
        """Return whether it was stopped, by a person or after failures."""
        return self.paths.stop.exists()

    def is_over(self) -> bool:
        """Return whether every planned trial has ended, or there is nothing more to try."""
        return is_over(self.paths, self.experiment.trials)

    def progress(self) -> Progress:
        """Return how many trials are planned, reserved, ended and left."""
        return progress_of(self.paths, self.experiment.trials)

    def unclaimed_trials(self) -> int:
        """Return how many trials a worker could claim now; 0 if the sweep is over or stopped."""
        if self.is_stopped() or self.is_over():
            return 0
        return unclaimed_trials(self.paths, self.experiment.trials)


def runs_folder(given: Path | None = None) -> RunsPaths:
    """Return the folder of all sweeps: `given`, otherwise `$SWEEPS_RUNS`, otherwise `runs`."""
    return RunsPaths((given or Path(os.environ.get("SWEEPS_RUNS", "runs"))).absolute())


def sweeps_by_age(runs: RunsPaths) -> list[SweepPaths]:
    """Return every sweep in the folder, the latest last."""
    return sorted(runs.sweeps(), key=lambda paths: paths.plan.stat().st_mtime)


def latest_search(runs: RunsPaths) -> SweepPaths | None:
    """Return the latest sweep that a person started; None if there is no sweep.

    A confirmation belongs to its sweep, so it is never the latest one.
    """
    found = [p for p in sweeps_by_age(runs) if not p.name.endswith(CONFIRMATION_SUFFIX)]
    return found[-1] if found else None


def unfinished_confirmation(paths: SweepPaths) -> SweepPaths | None:
    """Return the confirmation of a sweep if it has begun and is not over; otherwise None."""
    confirmation = paths.confirmation
    if not confirmation.plan.exists() or open_sweep(confirmation).is_over():
        return None
    return confirmation


def open_sweep(paths: SweepPaths) -> Sweep:
    """Open an existing sweep.

    Raises:
        InputError: there is no such sweep.
    """
    content = atomic.read_json(paths.plan)
    if content is None:
        found = ", ".join(sweep.name for sweep in paths.runs.sweeps()) or "none yet"
        raise InputError(
            f"no sweep {paths.name!r} in {paths.runs.folder}; the sweeps there are: {found}; "
            "start one with: make sweep"
        )
    plan = Plan(
        experiment=validate(content["experiment"], Experiment, str(paths.plan)),
        cluster=validate(content["cluster"], Cluster, str(paths.plan)),
        fingerprint=content["fingerprint"],
        command=tuple(content["command"]),
        confirms=content["confirms"],
        commit=content["commit"],
    )
    return Sweep(paths, plan)


def create_or_update(
    paths: SweepPaths, resolved: ResolvedExperiment, source: Path, plan: Plan
) -> Sweep:
    """Create the sweep of an experiment, or give the existing one a new plan.

    Args:
        paths: the sweep's folder; it need not exist.
        resolved: the experiment.
        source: the experiment's file, which is copied into the folder.
        plan: the plan, with the same experiment.

    Raises:
        InputError: the folder holds another sweep, or cannot be written.
    """
    identity, made = _identity(resolved, plan.fingerprint), {_MADE: time.time()}
    try:
        paths.trials_folder.mkdir(parents=True, exist_ok=True)
        atomic.create(paths.identity, json.dumps(identity | made, indent=2))
        _refuse_other_sweep(paths, atomic.read_json(paths.identity), identity)
        atomic.write(paths.experiment, source.read_bytes())
        content = {
            "experiment": plan.experiment.model_dump(mode="json"),
            "cluster": plan.cluster.model_dump(mode="json"),
            "fingerprint": plan.fingerprint,
            "command": plan.command,
            "confirms": plan.confirms,
            "commit": plan.commit,
        }
        atomic.write(paths.plan, json.dumps(content, indent=2))
    except OSError as error:
        advice = "choose another folder with --runs"
        raise InputError(
            f"{paths.folder}: cannot be written ({error.strerror}); {advice}"
        ) from error
    return open_sweep(paths)


def time_made(paths: SweepPaths) -> float | None:
    """Return when the sweep was made, in seconds since 1970; None if it was not recorded."""
    made = (atomic.read_json(paths.identity) or {}).get(_MADE)
    return None if made is None else float(made)


def stop_sweep(paths: SweepPaths, reason: str) -> None:
    """Stop the sweep: each worker ends its current epoch, releases its trial and exits."""
    atomic.write(paths.stop, json.dumps({"reason": reason, "time": time.time()}))


def clear_stop(paths: SweepPaths) -> None:
    """Clear a stop, and let the trials that have failed so far be tried again."""
    failed = [trial.number for trial in paths.trials() if state_of(trial) is State.FAILED]
    if failed and max(failed) > retried_up_to(paths):
        atomic.write(paths.retried, json.dumps({"until": max(failed)}))
        paths.exhausted.unlink(missing_ok=True)
    if exhausted_reason(paths) is not Exhausted.EVERY_POINT:
        paths.exhausted.unlink(missing_ok=True)
    paths.stop.unlink(missing_ok=True)


def stop_reason(paths: SweepPaths) -> str | None:
    """Return why the sweep is stopped; None if it is not stopped."""
    content = atomic.read_json(paths.stop)
    return None if content is None else str(content["reason"])


def retried_up_to(paths: SweepPaths) -> int:
    """Return the number of the last trial that is tried again if it failed; -1 for none."""
    content = atomic.read_json(paths.retried)
    return -1 if content is None else int(content["until"])


def _identity(resolved: ResolvedExperiment, fingerprint: str) -> dict[str, Any]:
    experiment = resolved.experiment
    return {
        "trainer": experiment.trainer,
        "objective": experiment.objective.model_dump(mode="json"),
        "data": fingerprint,
        "space": experiment.space,
        "trial": resolved.base.model_dump(mode="json"),
    }


def _refuse_other_sweep(
    paths: SweepPaths, stored: Mapping[str, Any], current: Mapping[str, Any]
) -> None:
    old, new = flatten(json.loads(json.dumps(stored))), flatten(json.loads(json.dumps(current)))
    old.pop(_MADE, None)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if not changed:
        return
    shown = "; ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in changed[:3])
    more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    advice = "give the experiment another name, or undo the change"
    raise InputError(f"{paths.folder} holds another sweep: {shown}{more}; {advice}")
