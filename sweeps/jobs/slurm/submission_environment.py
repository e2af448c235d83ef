"""The environment in which sbatch is run: without variables that change a submission silently.

sbatch reads an option from a variable such as SBATCH_PARTITION, and the variable outranks the
submission file. A site sets some of them for every user. What the cluster file leaves open is
taken from there. Everything else is the sweep's own: with SBATCH_WAIT, for example, a submission
would last as long as its jobs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sweeps.config.cluster import Cluster

_DEFAULTS = {
    "SBATCH_PARTITION": "partition",
    "SBATCH_ACCOUNT": "account",
    "SBATCH_QOS": "qos",
    "SBATCH_GRES": "gres",
    "SBATCH_CONSTRAINT": "constraint",
}
"""Variables that are used where the cluster file leaves out the key beside them."""
_KEPT = ("SBATCH_RESERVATION",)
"""Variables of which the cluster file has no key; they say where jobs run. SBATCH_CLUSTERS is not
among them: squeue and scancel would ask another cluster than sbatch. SLURM_CLUSTERS is for all."""
_NOT_OF_A_JOB = ("SLURM_CONF", "SLURM_CLUSTERS")


def with_site_defaults(cluster: Cluster) -> Cluster:
    """Return the cluster file with what it leaves out and the environment defines."""
    found = {key: os.environ.get(name) for name, key in _DEFAULTS.items()}
    return cluster.model_copy(
        update={k: v for k, v in found.items() if v and getattr(cluster, k) is None}
    )


def submission_environment() -> dict[str, str]:
    """Return the environment variables with which sbatch is run."""
    cleared = set(_cleared(os.environ))
    return {name: value for name, value in os.environ.items() if name not in cleared}


@contextmanager
def cleared_environment() -> Iterator[None]:
    """Remove the variables that sbatch must not see from this process, for a while."""
    removed = {name: os.environ.pop(name) for name in list(_cleared(os.environ))}
    try:
        yield
    finally:
        os.environ.update(removed)


def environment_notes(cluster: Cluster) -> list[str]:
    """Return a line for each variable of sbatch that is set: whether it is used.

    Args:
        cluster: the cluster file as it was read.
    """
    if cluster.scheduler != "slurm":
        return []
    used, unused = [], []
    for name, value in sorted(os.environ.items()):
        if not name.startswith("SBATCH_"):
            continue
        key = _DEFAULTS.get(name)
        if name in _KEPT or (key is not None and getattr(cluster, key) is None):
            used.append(f"{name}={value}")
        else:
            unused.append(name)
    notes = []
    if used:
        notes.append(f"used from the environment: {', '.join(used)}")
    if unused:
        notes.append(f"set in the environment, and not used for this sweep: {', '.join(unused)}")
    return notes


def _cleared(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the variables that sbatch must not see.

    Inside of a job those of the job count, too: SLURM refuses a new one whose memory is given in
    two ways, and the new job is another one.
    """
    in_job = "SLURM_JOB_ID" in environment
    for name in environment:
        if name.startswith("SBATCH_"):
            if name not in _KEPT:
                yield name
        elif in_job and name.startswith(("SLURM_", "SRUN_")) and name not in _NOT_OF_A_JOB:
            yield name
