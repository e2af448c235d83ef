"""Site information from SLURM: the partitions, and the user's accounts. It is kept for an hour."""

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.slurm.commands import PERSON
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.storage.paths import SlurmPaths

CACHE_SECONDS = 3600.0
_PARTITIONS = ("scontrol", "show", "partition", "--oneliner")
_USER = ("sacctmgr", "-nP", "show", "user")
_FORMAT = "format=defaultaccount,account,qos"


@dataclass(frozen=True)
class SlurmUser:
    """The user who submits, as SLURM's accounting knows them.

    Attributes:
        default: the account of a job that names none.
        accounts: all accounts that the user may use.
        qos: the names of the QOS that each account may use.
    """

    default: str
    accounts: frozenset[str]
    qos: Mapping[str, frozenset[str]]


def read_partitions(
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
        return run_when_allowed(slurm, *_PARTITIONS, patience=PERSON)

    tables = [
        dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        for line in _cached(slurm, slurm.partitions, max_age, query).splitlines()
        if line.strip()
    ]
    return {table["PartitionName"]: table for table in tables}


def read_user(slurm: SlurmPaths, max_age: float = CACHE_SECONDS) -> SlurmUser | None:
    """Return the user who runs this process; None at a site without accounting.

    Args:
        slurm: where SLURM's answers are stored.
        max_age: how old, in seconds, a stored answer may be.

    Raises:
        InputError: the answer cannot be stored.
    """

    def query() -> str:
        try:
            return run_when_allowed(slurm, *_USER, _user_name(), "withassoc", _FORMAT)
        except EnvironmentFailure:
            return ""

    answer = _cached(slurm, slurm.user, max_age, query)
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 2]
    if not lines:
        return None
    qos = {account: frozenset(names.split(",")) for _, account, names in lines}
    return SlurmUser(lines[0][0], frozenset(qos), qos)


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
