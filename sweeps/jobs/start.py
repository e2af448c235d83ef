"""Starting a sweep: every check first, then the folder, then the jobs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.cluster import read_cluster
from sweeps.config.experiment import ResolvedExperiment, read_experiment
from sweeps.errors import InputError
from sweeps.jobs.launcher import submit_missing
from sweeps.jobs.slurm.site_check import check_against_site, check_site
from sweeps.jobs.submit import TooManyJobsError
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import Plan, Sweep, clear_stop, create_or_update, runs_folder
from sweeps.storage.trial_record import read_curve
from sweeps.tracking.store import acquire_lease, check_writable, resolve_store


@dataclass(frozen=True)
class SweepRequest:
    """What somebody wants run.

    Attributes:
        experiment: its file.
        cluster: the name of where its jobs run.
        runs: the folder of all sweeps.
        trials: how many trials in all, instead of what the file says.
    """

    experiment: Path
    cluster: str
    runs: RunsPaths
    trials: int | None = None

    def command(self) -> tuple[str, ...]:
        """The arguments of `sweeps` that say the same again."""
        options = ["run", str(self.experiment), "--cluster", self.cluster]
        if self.runs != runs_folder():
            options += ["--runs", str(self.runs.folder)]
        if self.trials is not None:
            options += ["--trials", str(self.trials)]
        return tuple(options)


def prepare_sweep(request: SweepRequest) -> Sweep:
    """Check all that was given, and make the sweep's folder or go on with the one that is there.

    Raises:
        InputError: anything given is wrong; nothing was sent.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    fingerprint = data_fingerprint(resolved)
    plan = Plan(resolved.experiment, cluster, fingerprint, request.command())
    paths = request.runs.sweep(resolved.experiment.name)
    return start_or_update(paths, resolved, request.experiment, plan, request.cluster)


def start_or_update(
    paths: SweepPaths, resolved: ResolvedExperiment, source: Path, plan: Plan, cluster_name: str
) -> Sweep:
    """Check where a sweep's work and its figures go, then make it or go on with it.

    Raises:
        InputError: no jobs can be sent to the cluster from here, or the store cannot be written.
    """
    cluster = plan.cluster
    if cluster.scheduler == "slurm":
        check_site(cluster_name, cluster, paths.slurm)
    store = resolve_store(paths.runs, cluster.tracking)
    check_writable(store)
    sweep = create_or_update(paths, resolved, source, plan)
    acquire_lease(store)  # the host that launches is the one that publishes, if it is the first
    clear_stop(sweep.paths)
    return sweep


def data_fingerprint(resolved: ResolvedExperiment) -> str:
    """The fingerprint of the data that every configuration of the space works on.

    Raises:
        InputError: the data are not there, or a configuration cannot work on them.
    """
    try:
        return resolved.trainer.prepare(resolved.corner_configs())
    except ValueError as error:
        raise InputError(str(error)) from error


def _remove_if_new(paths: SweepPaths) -> None:
    """Remove a sweep to which no job was ever sent: what was given may change before the next."""
    if not paths.trials() and not paths.jobs():
        shutil.rmtree(paths.folder)


class TopUp:
    """Sending what jobs are missing, as long as jobs get anywhere."""

    def __init__(self, sweep: Sweep) -> None:
        """For a sweep to which nothing was sent yet by this process."""
        self._sweep = sweep
        self._seen: int | None = None

    def send(self) -> list[str]:
        """Send the missing jobs; nothing if the sweep needs none, or the last ones did nothing.

        Raises:
            InputError: the scheduler refused; a sweep that is new is gone again.
            WorldError: the scheduler failed.
        """
        if self._sweep.is_over() or self._sweep.is_stopped():
            return []
        epochs = sum(len(read_curve(trial)) for trial in self._sweep.paths.trials())
        if epochs == self._seen:
            return []
        try:
            sent = submit_missing(self._sweep)
        except (InputError, TooManyJobsError) as error:
            _remove_if_new(self._sweep.paths)
            if isinstance(error, InputError):  # with the mend, where it is one that is known
                check_against_site(self._sweep.plan.cluster, self._sweep.paths.slurm)
            raise
        if sent:
            self._seen = epochs
        return sent
