"""Site information from SLURM: the partitions, and the user's accounts. It is kept for an hour."""

import getpass
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.slurm import queries
from sweeps.jobs.slurm.answers import Association, read_associations, read_partitions
from sweeps.jobs.slurm.commands import PERSON
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.storage.paths import SlurmPaths

CACHE_SECONDS = 3600.0


def site_partitions(
    slurm: SlurmPaths, max_age: float = CACHE_SECONDS
) -> Mapping[str, dict[str, str]]:
    """Return the settings of each partition, by its name, as `scontrol show partition` gives them.

    Args:
        slurm: where SLURM's answers are stored.
        max_age: how old, in seconds, a stored answer may be.

    Raises:
        InputError: the answer cannot be stored.
        EnvironmentFailure: SLURM did not answer for a long time, or refused.
    """

    def query() -> str:
        return run_when_allowed(slurm, *queries.PARTITIONS, patience=PERSON)

    path = slurm.partitions(cluster_name(slurm))
    return read_partitions(_cached(slurm, path, max_age, query))


def site_user(slurm: SlurmPaths, max_age: float = CACHE_SECONDS) -> Association | None:
    """Return the user who runs this process; None at a site without accounting.

    Args:
        slurm: where SLURM's answers are stored.
        max_age: how old, in seconds, a stored answer may be.

    Raises:
        InputError: the answer cannot be stored.
    """

    def query() -> str:
        try:
            return run_when_allowed(slurm, *queries.associations(_user_name()))
        except EnvironmentFailure:
            return ""

    cluster = cluster_name(slurm)
    return read_associations(_cached(slurm, slurm.user(cluster), max_age, query), cluster)


def _cached(slurm: SlurmPaths, path: Path, max_age: float, query: Callable[[], str]) -> str:
    """Return the stored answer; call `query` first if it is older than `max_age` seconds."""
    try:
        if _age(slurm, path) >= max_age:
            atomic.write(path, query())
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{slurm.folder}: cannot be written ({error.strerror}); name another folder with --runs"
        ) from error


def _age(slurm: SlurmPaths, path: Path) -> float:
    try:
        return abs(file_server_time(slurm) - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _user_name() -> str:
    """Return the user's name; the user id if the system (a container, say) has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())
