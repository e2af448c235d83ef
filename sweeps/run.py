"""Starting a sweep: every check first, then the folder, then the jobs."""

from pathlib import Path

from sweeps.cluster import read_cluster
from sweeps.errors import InputError
from sweeps.experiment import Resolved, read_experiment
from sweeps.launcher import submit_missing
from sweeps.paths import RunsPaths
from sweeps.store import check_writable, is_ours, store_of
from sweeps.sweep import Sweep, resume, start


def launch(
    experiment: Path, cluster_name: str, runs: RunsPaths, trials: int | None
) -> tuple[Sweep, list[str]]:
    """Start a sweep or go on with it.

    Args:
        experiment: its file.
        cluster_name: where its jobs run.
        runs: the folder of all sweeps.
        trials: how many trials in all, instead of what the file says.

    Returns:
        The sweep, and the scheduler's numbers of the jobs sent now.

    Raises:
        InputError: anything given is wrong; nothing was sent.
        WorldError: the scheduler refused.
    """
    resolved = read_experiment(experiment, trials)
    cluster = read_cluster(cluster_name)
    store = store_of(runs, cluster.tracking)
    check_writable(store)
    fingerprint = _prepare(resolved)
    sweep = start(runs.sweep(resolved.experiment.name), resolved, experiment, cluster, fingerprint)
    is_ours(store)  # the host that launches is the one that publishes, if it is the first
    resume(sweep.paths)
    return sweep, [] if sweep.is_over() else submit_missing(sweep)


def _prepare(resolved: Resolved) -> str:
    try:
        return resolved.trainer.prepare(resolved.ends())
    except ValueError as error:
        raise InputError(str(error)) from error
