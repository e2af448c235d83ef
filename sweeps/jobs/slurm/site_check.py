"""Checks of a cluster file against SLURM's information on the site, before a job is submitted.

Some errors need no check: sbatch refuses the job and gives the reason. These checks find jobs that
sbatch would accept but SLURM would never start: an account that the partition does not allow, or a
time limit longer than the partition's.
"""

import shutil
from collections.abc import Mapping

from sweeps.config.cluster import Cluster, parse_seconds
from sweeps.errors import InputError
from sweeps.jobs.slurm.site_info import CACHE_SECONDS, SlurmUser, read_partitions, read_user
from sweeps.storage.paths import SlurmPaths
from sweeps.text import did_you_mean

FRESH_SECONDS = 300.0
"""A cluster file is refused only after an answer of SLURM that is not older than this."""


def check_site(name: str, cluster: Cluster, slurm: SlurmPaths, *, all_checks: bool = False) -> None:
    """Refuse a cluster file that is wrong, or whose jobs would never start.

    Args:
        name: the cluster's name.
        cluster: the content of its file.
        slurm: where SLURM's answers are stored.
        all_checks: whether to check also what sbatch would refuse by itself.

    Raises:
        InputError: the file does not fit the site; the message says what to write instead.
        EnvironmentFailure: SLURM did not answer for a long time, or refused.
    """
    try:
        _check_locally(cluster)
        check_against_site(cluster, slurm, all_checks=all_checks)
    except InputError as error:
        raise InputError(f"cluster {name}: {error}") from error


def check_against_site(cluster: Cluster, slurm: SlurmPaths, *, all_checks: bool = True) -> None:
    """Raise InputError if the cluster file does not fit SLURM's information on the site.

    The message says what to write instead.
    """
    try:
        _check(cluster, slurm, CACHE_SECONDS, all_checks=all_checks)
    except InputError:  # the site may have changed since SLURM's answer was stored
        _check(cluster, slurm, FRESH_SECONDS, all_checks=all_checks)


def _check(cluster: Cluster, slurm: SlurmPaths, max_age: float, *, all_checks: bool) -> None:
    partition = _partition(cluster, read_partitions(slurm, max_age))
    _check_partition(cluster, partition)
    allowed = partition.get("AllowAccounts", "ALL")
    if not all_checks and (allowed == "ALL" or cluster.account in allowed.split(",")):
        return  # sbatch itself refuses an account or qos that the user may not use
    if (user := read_user(slurm, max_age)) is not None:
        _check_account(cluster, partition, user)


def _check_locally(cluster: Cluster) -> None:
    """Check what can be checked without asking SLURM."""
    if shutil.which("sbatch") is None:
        raise InputError("sbatch not found; log in to the cluster, or use --cluster local")
    if cluster.gpus and not cluster.gres:
        raise InputError('gpus is set without gres; set gres as the site names it, like "gpu:1"')


def _partition(cluster: Cluster, partitions: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    if cluster.partition is None:
        default = (p for p in partitions.values() if p.get("Default") == "YES")
        if (found := next(default, None)) is None:
            missing = "partition is not set, and SLURM has no default partition; set one"
            raise InputError(f"{missing}{did_you_mean('', partitions)}")
        return found
    if cluster.partition not in partitions:
        unknown = f"partition = {cluster.partition!r} is not known to SLURM"
        raise InputError(f"{unknown}{did_you_mean(cluster.partition, partitions)}")
    return partitions[cluster.partition]


def _check_partition(cluster: Cluster, partition: Mapping[str, str]) -> None:
    name, limit = partition["PartitionName"], partition.get("MaxTime", "UNLIMITED")
    if limit != "UNLIMITED" and parse_seconds(cluster.time_limit) > parse_seconds(limit):
        raise InputError(
            f"time_limit = {cluster.time_limit!r} is too long: partition {name} allows {limit}; "
            "set at most that: SLURM would never start a longer job"
        )


def _check_account(cluster: Cluster, partition: Mapping[str, str], user: SlurmUser) -> None:
    name, account = partition["PartitionName"], cluster.account or user.default
    given = f"account = {account!r}" if cluster.account else f"your default account {account!r}"
    if account not in user.accounts:
        hint = did_you_mean(account, user.accounts)
        raise InputError(f"{given} is not one of your accounts{hint}")
    allowed = partition.get("AllowAccounts", "ALL")
    if allowed != "ALL" and account not in allowed.split(","):
        usable = sorted(user.accounts & set(allowed.split(",")))
        fix = f'set account = "{usable[0]}"' if usable else "you have none of these"
        raise InputError(
            f"{given} is not allowed in partition {name}, which allows {allowed}; {fix}"
        )
    if cluster.qos and cluster.qos not in user.qos.get(account, frozenset()):
        hint = did_you_mean(cluster.qos, user.qos[account])
        raise InputError(f"qos = {cluster.qos!r} is not allowed for account {account!r}{hint}")
