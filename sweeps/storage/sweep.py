"""A sweep: an experiment under way, in a folder that is the only thing its workers share."""

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
from sweeps.config.experiment import Experiment, ResolvedExperiment, resolve
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


def checked_out_commit() -> str:
    """The commit that is checked out here, marked where the tree differs; empty outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


@dataclass(frozen=True)
class Plan:
    """What the workers of a sweep go by, as last given.

    Attributes:
        experiment: what to try.
        cluster: where.
        fingerprint: of the data, as the trainer found it.
        command: what goes on with the sweep, as arguments of `sweeps`.
        confirms: the name of the sweep whose best trials this one trains again; None for any other.
        commit: of the code.
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
        """The experiment with its trainer and its space."""
        return resolve(self.plan.experiment, str(self.paths.experiment))

    @property
    def experiment(self) -> Experiment:
        """The experiment as last given."""
        return self.plan.experiment

    @property
    def claim_seconds(self) -> float:
        """Silence after which a worker is believed dead."""
        return self.plan.cluster.claim_seconds

    def proposal_lock(self) -> Lock:
        """The lock under which trials are asked for."""
        return Lock(self.paths.lock("propose"), stale_after=self.claim_seconds)

    def is_stopped(self) -> bool:
        """Whether somebody, or too many failures, stopped it."""
        return self.paths.stop.exists()

    def is_over(self) -> bool:
        """Whether every trial asked for has ended, or there is nothing more to try."""
        return is_over(self.paths, self.experiment.trials)

    def progress(self) -> Progress:
        """How many trials are planned, reserved, ended and left."""
        return progress_of(self.paths, self.experiment.trials)

    def unclaimed_trials(self) -> int:
        """How many trials a worker could take up now: none of a sweep that is over or stopped."""
        if self.is_stopped() or self.is_over():
            return 0
        return unclaimed_trials(self.paths, self.experiment.trials)


def runs_folder(given: Path | None = None) -> RunsPaths:
    """Where the sweeps lie: as given, or `$SWEEPS_RUNS`, or `runs` here."""
    return RunsPaths((given or Path(os.environ.get("SWEEPS_RUNS", "runs"))).absolute())


def open_sweep(paths: SweepPaths) -> Sweep:
    """Open a sweep that is there.

    Raises:
        InputError: there is none.
    """
    content = atomic.read_json(paths.plan)
    if content is None:
        known = ", ".join(sweep.name for sweep in paths.runs.sweeps()) or "none yet"
        raise InputError(
            f"no sweep {paths.name!r} in {paths.runs.folder} (there: {known}); "
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
    """Make the sweep of an experiment, or go on with the one that is there.

    Args:
        paths: the sweep's folder, there or not.
        resolved: the experiment.
        source: the experiment's file, copied beside the sweep.
        plan: the same experiment, and where and how it is run.

    Raises:
        InputError: the sweep that is there is another one, or the folder cannot be written.
    """
    identity = _identity(resolved, plan.fingerprint)
    try:
        paths.trials_folder.mkdir(parents=True, exist_ok=True)
        atomic.create(paths.identity, json.dumps(identity, indent=2))
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
        why = f"cannot be written ({error.strerror}); name another place with --runs"
        raise InputError(f"{paths.folder}: {why}") from error
    return open_sweep(paths)


def stop_sweep(paths: SweepPaths, reason: str) -> None:
    """Have every worker give its trial back after the epoch it is in, and leave."""
    atomic.write(paths.stop, json.dumps({"reason": reason, "time": time.time()}))


def clear_stop(paths: SweepPaths) -> None:
    """Clear a stop, and have the trials that failed so far tried again."""
    failed = [trial.number for trial in paths.trials() if state_of(trial) is State.FAILED]
    if failed and max(failed) > retried_up_to(paths):
        atomic.write(paths.retried, json.dumps({"until": max(failed)}))
        paths.exhausted.unlink(missing_ok=True)
    if exhausted_reason(paths) is not Exhausted.EVERY_POINT:
        paths.exhausted.unlink(missing_ok=True)
    paths.stop.unlink(missing_ok=True)


def stop_reason(paths: SweepPaths) -> str | None:
    """Why the sweep stands still; None where it does not."""
    content = atomic.read_json(paths.stop)
    return None if content is None else str(content["reason"])


def retried_up_to(paths: SweepPaths) -> int:
    """The number up to which failed trials are tried again; -1 where none are."""
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
    paths: SweepPaths, there: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    old, new = flatten(json.loads(json.dumps(there))), flatten(json.loads(json.dumps(here)))
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if not changed:
        return
    shown = "; ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in changed[:3])
    more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    mend = "give the experiment another name, or undo the change"
    raise InputError(f"{paths.folder} holds another sweep: {shown}{more}; {mend}")
