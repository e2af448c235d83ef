"""What SLURM says of the site and of whoever asks: partitions, accounts. Kept for an hour."""

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import InputError, WorldError
from sweeps.filesystem import atomic as files
from sweeps.jobs.slurm.commands import PATIENCE_SECONDS
from sweeps.jobs.slurm.rate_limit import ask_in_turn, now
from sweeps.storage.paths import SlurmPaths

KEPT_SECONDS = 3600.0
_PARTITIONS = ("scontrol", "show", "partition", "--oneliner")
_USER = ("sacctmgr", "-nP", "show", "user")
_FORMAT = "format=defaultaccount,account,qos"


@dataclass(frozen=True)
class User:
    """Who submits, as SLURM's accounting knows them.

    Attributes:
        default: the account of jobs that name none.
        accounts: each account they may use.
        qos: what each account may use.
    """

    default: str
    accounts: frozenset[str]
    qos: Mapping[str, frozenset[str]]


def partitions(slurm: SlurmPaths, at_most: float = KEPT_SECONDS) -> Mapping[str, dict[str, str]]:
    """Every partition, with what `scontrol` said of it, by SLURM's names, so many seconds ago.

    Raises:
        InputError: the answer cannot be kept.
        WorldError: SLURM did not answer for long.
    """

    def ask() -> str:
        return ask_in_turn(slurm, *_PARTITIONS, patience=PATIENCE_SECONDS)

    tables = [
        dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        for line in _kept(slurm, slurm.partitions, at_most, ask).splitlines()
        if line.strip()
    ]
    return {table["PartitionName"]: table for table in tables}


def user(slurm: SlurmPaths, at_most: float = KEPT_SECONDS) -> User | None:
    """Whoever runs this, or None where the site keeps no accounts.

    Raises:
        InputError: the answer cannot be kept.
    """

    def ask() -> str:
        try:
            return ask_in_turn(slurm, *_USER, _user_name(), "withassoc", _FORMAT)
        except WorldError:
            return ""

    answer = _kept(slurm, slurm.user, at_most, ask)
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 2]
    if not lines:
        return None
    qos = {account: frozenset(names.split(",")) for _, account, names in lines}
    return User(lines[0][0], frozenset(qos), qos)


def _kept(slurm: SlurmPaths, path: Path, at_most: float, ask: Callable[[], str]) -> str:
    """An answer that is not older than so many seconds, asked for now where it is."""
    try:
        if _age(slurm, path) >= at_most:
            files.write(path, ask())
        return path.read_text()
    except OSError as error:
        raise InputError(
            f"{slurm.folder}: cannot be written ({error.strerror}); name another place with --runs"
        ) from error


def _age(slurm: SlurmPaths, path: Path) -> float:
    try:
        return abs(now(slurm) - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _user_name() -> str:
    """The name of whoever runs this, or the number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())
