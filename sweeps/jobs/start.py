"""The start of a sweep: first every check, then the sweep's folder, then the jobs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.cluster import Cluster, read_cluster
from sweeps.config.resolve import ResolvedExperiment, read_experiment
from sweeps.errors import InputError
from sweeps.jobs.launcher import submit_missing
from sweeps.jobs.notify import check_notify
from sweeps.jobs.slurm.site_check import check_site, explain_refusal
from sweeps.jobs.slurm.submission_environment import with_site_defaults
from sweeps.jobs.submit import TooManyJobsError, check_owner
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.progress import is_over
from sweeps.storage.sweep import Plan, Sweep, clear_stop, create_or_update, runs_folder
from sweeps.storage.trial_record import read_curve
from sweeps.tracking.access import check_writable
from sweeps.tracking.store import acquire_lease, resolve_store
from sweeps.tracking.uri import check_uri


@dataclass(frozen=True)
class SweepRequest:
    """What a person asked `sweeps run` for.

    Attributes:
        experiment: path of the experiment file.
        cluster: name of the cluster file.
        runs: the folder of all sweeps.
        trials: the total number of trials; None takes it from the experiment file.
    """

    experiment: Path
    cluster: str
    runs: RunsPaths
    trials: int | None = None

    def command(self) -> tuple[str, ...]:
        """Return the arguments of `sweeps` that make the same request again."""
        options = ["run", str(self.experiment), "--cluster", self.cluster]
        if self.runs != runs_folder():
            options += ["--runs", str(self.runs.folder)]
        if self.trials is not None:
            options += ["--trials", str(self.trials)]
        return tuple(options)


def prepare_sweep(request: SweepRequest) -> Sweep:
    """Check the whole request, then create the sweep's folder or update the existing one.

    Raises:
        InputError: something in the request is wrong; nothing was submitted.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    check_uri(resolve_store(request.runs, cluster.tracking))  # making the data can take minutes
    paths = request.runs.sweep(resolved.experiment.name)
    if not is_over(paths, resolved.experiment.trials):
        check_local_device(resolved, cluster)
    fingerprint = resolved.prepare_data()
    plan = Plan(resolved.experiment, cluster, fingerprint, request.command())
    return start_or_update(paths, resolved, request.experiment, plan, request.cluster)


def start_or_update(
    paths: SweepPaths, resolved: ResolvedExperiment, source: Path, plan: Plan, cluster_name: str
) -> Sweep:
    """Check the cluster and the tracking store, then create or update the sweep.

    Raises:
        InputError: jobs cannot be submitted to the cluster from here, the store cannot be
            written, or the notify command does not exist here.
        EnvironmentFailure: the sweep is another user's, and not over.
    """
    cluster = plan.cluster
    if not is_over(paths, plan.experiment.trials):
        check_owner(paths.scheduler_logs)  # before another user's sweep gets a new plan
    check_notify(cluster)
    if cluster.scheduler == "slurm":
        check_site(cluster_name, with_site_defaults(cluster), paths.slurm)
    store = resolve_store(paths.runs, cluster.tracking)
    check_writable(store)
    sweep = create_or_update(paths, resolved, source, plan)
    acquire_lease(store)  # so the first host that launches a sweep is the one that publishes
    clear_stop(sweep.paths)
    if not sweep.is_over():
        for file in paths.notifications():  # its next end or stop is another event
            file.unlink(missing_ok=True)
    return sweep


def check_local_device(resolved: ResolvedExperiment, cluster: Cluster) -> str | None:
    """Check the devices of this machine if jobs run here; in SLURM only a job can check its node.

    Returns:
        What the trials will be trained on; None if they do not run here.

    Raises:
        InputError: a device is missing.
    """
    return resolved.check_device(gpu=cluster.gpus > 0) if cluster.scheduler == "local" else None


def _remove_if_new(paths: SweepPaths) -> None:
    """Remove a sweep that never had a job, so that its next start may use other settings."""
    if not paths.trials() and not paths.jobs():
        shutil.rmtree(paths.folder)


class TopUp:
    """Submits missing jobs again and again, as long as the jobs make progress."""

    def __init__(self, sweep: Sweep) -> None:
        """Create it for a sweep to which this process has submitted nothing yet."""
        self._sweep = sweep
        self._epochs_at_submission: int | None = None

    def send(self) -> list[str]:
        """Submit the missing jobs; none if the sweep is done or the last jobs finished no epoch.

        Raises:
            InputError: the scheduler refused; the folder of a new sweep was removed.
            EnvironmentFailure: the scheduler failed.
        """
        if self._sweep.is_over() or self._sweep.is_stopped():
            return []
        epochs = sum(len(read_curve(trial)) for trial in self._sweep.paths.trials())
        if epochs == self._epochs_at_submission:
            return []
        try:
            submitted = submit_missing(self._sweep)
        except (InputError, TooManyJobsError) as error:
            _remove_if_new(self._sweep.paths)
            if isinstance(error, InputError):  # raises a message with advice where there is any
                cluster = with_site_defaults(self._sweep.plan.cluster)
                explain_refusal(cluster, self._sweep.paths.slurm, str(error))
            raise
        if submitted:
            self._epochs_at_submission = epochs
            self._sweep.paths.notified("waiting").unlink(missing_ok=True)  # it waits no longer
        return submitted
