"""A cluster file held against what SLURM knows, before anything is sent.

What sbatch refuses it says itself, and nothing waits then. What it would take and never start (an
account that the partition does not allow, more time than it gives) is what these checks are for.
"""

import os
import shutil
from collections.abc import Mapping

from sweeps.config.cluster import Cluster, parse_seconds
from sweeps.errors import InputError
from sweeps.jobs.slurm.site_info import CACHE_SECONDS, SlurmUser, read_partitions, read_user
from sweeps.storage.paths import SlurmPaths
from sweeps.text import did_you_mean

FRESH_SECONDS = 300.0
"""What SLURM said longer ago is good enough for going on, and not for refusing."""


def check_site(name: str, cluster: Cluster, slurm: SlurmPaths, *, all_checks: bool = False) -> None:
    """Refuse a cluster file whose jobs would wait for ever, or that is wrong from the start.

    Args:
        name: the cluster's.
        cluster: the file.
        slurm: where SLURM's answers are kept.
        all_checks: look also for what sbatch refuses by itself.

    Raises:
        InputError: it cannot work; the message says what to write instead.
        WorldError: SLURM did not answer for long.
    """
    try:
        _check_here(cluster)
        check_against_site(cluster, slurm, all_checks=all_checks)
    except InputError as error:
        raise InputError(f"cluster {name}: {error}") from error


def check_against_site(cluster: Cluster, slurm: SlurmPaths, *, all_checks: bool = True) -> None:
    """Raise InputError with the mend where the file does not fit what SLURM says of the site."""
    try:
        _check(cluster, slurm, CACHE_SECONDS, thoroughly=all_checks)
    except InputError:  # the site may have changed
        _check(cluster, slurm, FRESH_SECONDS, thoroughly=all_checks)


def _check(cluster: Cluster, slurm: SlurmPaths, at_most: float, *, thoroughly: bool) -> None:
    partition = _partition(cluster, read_partitions(slurm, at_most))
    _check_partition(cluster, partition)
    allowed = partition.get("AllowAccounts", "ALL")
    if not thoroughly and (allowed == "ALL" or cluster.account in allowed.split(",")):
        return  # an account or qos that is not the user's would be refused by sbatch
    if (known := read_user(slurm, at_most)) is not None:
        _check_account(cluster, partition, known)


def _check_here(cluster: Cluster) -> None:
    """What is wrong whatever SLURM says."""
    if shutil.which("sbatch") is None:
        raise InputError("there is no sbatch here; log in to the cluster, or take --cluster local")
    if cluster.gpus and not cluster.gres:
        raise InputError('gpus = 1 needs gres, as the site writes it: gres = "gpu:1"')
    if memory := [name for name in os.environ if name.startswith("SBATCH_MEM")]:
        raise InputError(f"your environment sets {memory[0]}; unset it: memory is never asked for")


def _partition(cluster: Cluster, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    if cluster.partition is None:
        default = (p for p in known.values() if p.get("Default") == "YES")
        if (found := next(default, None)) is None:
            raise InputError(f"SLURM has no default partition; give one{did_you_mean('', known)}")
        return found
    if cluster.partition not in known:
        unknown = f"SLURM knows no partition {cluster.partition!r}"
        raise InputError(f"{unknown}{did_you_mean(cluster.partition, known)}")
    return known[cluster.partition]


def _check_partition(cluster: Cluster, partition: Mapping[str, str]) -> None:
    name, most = partition["PartitionName"], partition.get("MaxTime", "UNLIMITED")
    if most != "UNLIMITED" and parse_seconds(cluster.time_limit) > parse_seconds(most):
        too_much = f"partition {name} allows {most}, and time_limit = {cluster.time_limit!r}"
        raise InputError(f"{too_much}; a job would wait for ever")


def _check_account(cluster: Cluster, partition: Mapping[str, str], known: SlurmUser) -> None:
    name, account = partition["PartitionName"], cluster.account or known.default
    given = f"account = {account!r}" if cluster.account else f"your default account is {account!r}"
    if account not in known.accounts:
        raise InputError(f"{given}, which is none of yours{did_you_mean(account, known.accounts)}")
    allowed = partition.get("AllowAccounts", "ALL")
    if allowed != "ALL" and account not in allowed.split(","):
        usable = sorted(known.accounts & set(allowed.split(",")))
        mend = f'give account = "{usable[0]}"' if usable else "and you have none of these"
        raise InputError(f"partition {name} is for the accounts {allowed}, and {given}; {mend}")
    if cluster.qos and cluster.qos not in known.qos.get(account, frozenset()):
        raise InputError(
            f"qos = {cluster.qos!r} is not for you{did_you_mean(cluster.qos, known.qos[account])}"
        )
