"""What SLURM says of the site and of whoever asks: partitions, accounts. Kept for an hour."""

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.slurm.commands import RETRY_SECONDS
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.storage.paths import SlurmPaths

CACHE_SECONDS = 3600.0
_PARTITIONS = ("scontrol", "show", "partition", "--oneliner")
_USER = ("sacctmgr", "-nP", "show", "user")
_FORMAT = "format=defaultaccount,account,qos"


@dataclass(frozen=True)
class SlurmUser:
    """Who submits, as SLURM's accounting knows them.

    Attributes:
        default: the account of jobs that name none.
        accounts: each account they may use.
        qos: what each account may use.
    """

    default: str
    accounts: frozenset[str]
    qos: Mapping[str, frozenset[str]]


def read_partitions(
    slurm: SlurmPaths, max_age: float = CACHE_SECONDS
) -> Mapping[str, dict[str, str]]:
    """Every partition, with what `scontrol` said of it, by SLURM's names, so many seconds ago.

    Raises:
        InputError: the answer cannot be kept.
        WorldError: SLURM did not answer for long.
    """

    def ask() -> str:
        return run_when_allowed(slurm, *_PARTITIONS, patience=RETRY_SECONDS)

    tables = [
        dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        for line in _cached(slurm, slurm.partitions, max_age, ask).splitlines()
        if line.strip()
    ]
    return {table["PartitionName"]: table for table in tables}


def read_user(slurm: SlurmPaths, max_age: float = CACHE_SECONDS) -> SlurmUser | None:
    """Whoever runs this, or None where the site keeps no accounts.

    Raises:
        InputError: the answer cannot be kept.
    """

    def ask() -> str:
        try:
            return run_when_allowed(slurm, *_USER, _user_name(), "withassoc", _FORMAT)
        except EnvironmentFailure:
            return ""

    answer = _cached(slurm, slurm.user, max_age, ask)
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 2]
    if not lines:
        return None
    qos = {account: frozenset(names.split(",")) for _, account, names in lines}
    return SlurmUser(lines[0][0], frozenset(qos), qos)


def _cached(slurm: SlurmPaths, path: Path, at_most: float, ask: Callable[[], str]) -> str:
    """An answer that is not older than so many seconds, asked for now where it is."""
    try:
        if _age(slurm, path) >= at_most:
            atomic.write(path, ask())
        return path.read_text()
    except OSError as error:
        raise InputError(
            f"{slurm.folder}: cannot be written ({error.strerror}); name another place with --runs"
        ) from error


def _age(slurm: SlurmPaths, path: Path) -> float:
    try:
        return abs(file_server_time(slurm) - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _user_name() -> str:
    """The name of whoever runs this, or the number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())
