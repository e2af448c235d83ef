"""A cluster file held against what SLURM knows, before anything is sent.

What sbatch would refuse it says at once. What it would take and never start (an account that the
partition does not allow, more time than it gives) is what these checks are for.
"""

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sweeps.cluster import Cluster, seconds
from sweeps.errors import InputError, WorldError
from sweeps.settings import nearest
from sweeps.slurm.commands import (
    COMMAND_SECONDS,
    PATIENCE_SECONDS,
    SlurmSilentError,
    ask,
    is_silence,
)


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


def check_site(name: str, cluster: Cluster, text: Callable[[], str]) -> None:
    """Refuse a cluster file that SLURM would refuse, or whose jobs would wait for ever.

    Args:
        name: the cluster's.
        cluster: the file.
        text: gives what sbatch would be given, once it is known that there is an sbatch.

    Raises:
        InputError: it cannot work; the message says what to write instead.
        WorldError: SLURM did not answer for long.
    """
    try:
        _check(cluster, text)
    except InputError as error:
        raise InputError(f"cluster {name}: {error}") from error


def _check(cluster: Cluster, text: Callable[[], str]) -> None:
    if shutil.which("sbatch") is None:
        raise InputError("there is no sbatch here; log in to the cluster, or take --cluster local")
    if cluster.gpus and not cluster.gres:
        raise InputError('gpus = 1 needs gres, as the site writes it: gres = "gpu:1"')
    if memory := [name for name in os.environ if name.startswith("SBATCH_MEM")]:
        raise InputError(f"your environment sets {memory[0]}; unset it: memory is never asked for")
    partition = _partition(cluster)
    _check_partition(cluster, partition)
    if (user := _user()) is not None:
        _check_account(cluster, partition, user)
    if (complaint := refusal(text())) is not None:
        raise InputError(f"sbatch refuses the job: {complaint}")


def partitions() -> dict[str, dict[str, str]]:
    """Every partition, with what `scontrol` says of it by SLURM's names."""
    answer = ask("scontrol", "show", "partition", "--oneliner", patience=PATIENCE_SECONDS)
    tables = [
        dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        for line in answer.splitlines()
        if line.strip()
    ]
    return {table["PartitionName"]: table for table in tables}


def refusal(text: str) -> str | None:
    """Why sbatch would refuse this file; None where it would take it."""
    said = dry_run(text)
    return None if said.returncode == 0 else _last_line(said.stderr)


def dry_run(text: str) -> subprocess.CompletedProcess[str]:
    """What `sbatch --test-only` says: when such a job would start, or why never.

    Raises:
        SlurmSilentError: nothing.
    """
    command = ["sbatch", "--test-only"]
    try:
        said = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmSilentError("sbatch does not answer") from error
    if said.returncode and is_silence(said.stderr):
        raise SlurmSilentError(_last_line(said.stderr))
    return said


def _partition(cluster: Cluster) -> dict[str, str]:
    known = partitions()
    if cluster.partition is None:
        default = (p for p in known.values() if p.get("Default") == "YES")
        if (found := next(default, None)) is None:
            raise InputError(f"SLURM has no default partition; give one{nearest('', known)}")
        return found
    if cluster.partition not in known:
        unknown = f"SLURM knows no partition {cluster.partition!r}"
        raise InputError(f"{unknown}{nearest(cluster.partition, known)}")
    return known[cluster.partition]


def _check_partition(cluster: Cluster, partition: Mapping[str, str]) -> None:
    name, most = partition["PartitionName"], partition.get("MaxTime", "UNLIMITED")
    if most != "UNLIMITED" and seconds(cluster.time_limit) > seconds(most):
        too_much = f"partition {name} allows {most}, and time_limit = {cluster.time_limit!r}"
        raise InputError(f"{too_much}; a job would wait for ever")


def _check_account(cluster: Cluster, partition: Mapping[str, str], user: User) -> None:
    name, account = partition["PartitionName"], cluster.account or user.default
    given = f"account = {account!r}" if cluster.account else f"your default account is {account!r}"
    if account not in user.accounts:
        raise InputError(f"{given}, which is none of yours{nearest(account, user.accounts)}")
    allowed = partition.get("AllowAccounts", "ALL")
    if allowed != "ALL" and account not in allowed.split(","):
        usable = sorted(user.accounts & set(allowed.split(",")))
        mend = f'give account = "{usable[0]}"' if usable else "and you have none of these"
        raise InputError(f"partition {name} is for the accounts {allowed}, and {given}; {mend}")
    if cluster.qos and cluster.qos not in user.qos.get(account, frozenset()):
        raise InputError(
            f"qos = {cluster.qos!r} is not for you{nearest(cluster.qos, user.qos[account])}"
        )


def _user() -> User | None:
    """Whoever runs this, or None where the site keeps no accounts."""
    command = ["sacctmgr", "-nP", "show", "user", getpass.getuser(), "withassoc"]
    try:
        answer = ask(*command, "format=defaultaccount,account,qos")
    except WorldError:
        return None
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 2]
    if not lines:
        return None
    qos = {account: frozenset(names.split(",")) for _, account, names in lines}
    return User(lines[0][0], frozenset(qos), qos)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why"
