"""Checks of a cluster file against SLURM's information on the site, before a job is submitted.

Some errors need no check: sbatch refuses the job and gives the reason. These checks find jobs that
sbatch would accept but SLURM would never start: an account that the partition does not allow, or a
time limit longer than the partition's.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence

from sweeps.config.cluster import Cluster, parse_seconds
from sweeps.errors import InputError
from sweeps.jobs.slurm.answers import Association
from sweeps.jobs.slurm.site_info import CACHE_SECONDS, site_partitions, site_user
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
        _check_twice(lambda age: _check(cluster, slurm, age, all_checks=all_checks))
    except InputError as error:
        raise InputError(f"cluster {name}: {error}") from error


def explain_refusal(cluster: Cluster, slurm: SlurmPaths, refusal: str = "") -> None:
    """Raise InputError if sbatch's refusal of a job can be explained by the cluster file.

    The message says what to write instead. A site may choose the partition of a job that names
    none, so this is the reason only where sbatch's own message is about the partition.
    """
    _check_twice(lambda max_age: _explain(cluster, slurm, refusal, max_age))


def _check_twice(check: Callable[[float], None]) -> None:
    """Call a check with the stored answers of SLURM, and before it refuses with recent ones."""
    try:
        check(CACHE_SECONDS)
    except InputError:  # the site may have changed since SLURM's answer was stored
        check(FRESH_SECONDS)


def _explain(cluster: Cluster, slurm: SlurmPaths, refusal: str, max_age: float) -> None:
    partitions = site_partitions(slurm, max_age)
    is_about_it = "partition" in refusal.lower()
    if cluster.partition is None and is_about_it and not _requested(cluster, partitions):
        missing = "partition is not set, and SLURM has no default partition; set one"
        raise InputError(f"{missing}{did_you_mean('', partitions)}")
    for name in (cluster.partition or "").split(","):
        if name and name not in partitions:
            unknown = f"partition = {name!r} is not known to SLURM"
            raise InputError(f"{unknown}{did_you_mean(name, partitions)}")
    _check(cluster, slurm, max_age, all_checks=True)


def _check(cluster: Cluster, slurm: SlurmPaths, max_age: float, *, all_checks: bool) -> None:
    """Refuse what SLURM would never start in any of the partitions.

    A partition that SLURM does not list, or none where none is the default, is left to sbatch:
    it may be hidden, or a plugin of the site may choose one.
    """
    partitions = _requested(cluster, site_partitions(slurm, max_age))
    partitions = _passing(partitions, lambda partition: _check_partition(cluster, partition))
    open_to_it = any(_allows(partition, cluster.account) for partition in partitions)
    if not all_checks and (open_to_it or not partitions):
        return  # sbatch itself refuses an account or qos that the user may not use
    if (user := site_user(slurm, max_age)) is not None:
        _check_user(cluster, user)
        _passing(partitions, lambda partition: _check_account(cluster, partition, user))


def _passing(
    partitions: Sequence[Mapping[str, str]], check: Callable[[Mapping[str, str]], None]
) -> list[Mapping[str, str]]:
    """Return the partitions that pass; SLURM takes any, so the first error is raised if none do."""
    passing: list[Mapping[str, str]] = []
    errors: list[InputError] = []
    for partition in partitions:
        try:
            check(partition)
            passing.append(partition)
        except InputError as error:
            errors.append(error)
    if errors and not passing:
        raise errors[0]
    return passing


def _check_locally(cluster: Cluster) -> None:
    """Check what can be checked without asking SLURM."""
    if shutil.which("sbatch") is None:
        raise InputError("sbatch not found; log in to the cluster, or use --cluster local")
    if cluster.gpus and not cluster.gres:
        raise InputError('gpus is set without gres; set gres as the site names it, like "gpu:1"')


def _requested(
    cluster: Cluster, partitions: Mapping[str, Mapping[str, str]]
) -> list[Mapping[str, str]]:
    """Return the partitions that the file names, or SLURM's default; none if one is not listed."""
    if cluster.partition is None:
        return [p for p in partitions.values() if p.get("Default") == "YES"]
    names = [name for name in cluster.partition.split(",") if name]
    return [partitions[name] for name in names] if partitions.keys() >= set(names) else []


def _allowed_accounts(partition: Mapping[str, str]) -> list[str] | None:
    """Return the accounts that a partition allows, in small letters as SLURM; None for all."""
    allowed = partition.get("AllowAccounts", "ALL")
    return None if allowed.upper() == "ALL" else allowed.lower().split(",")


def _allows(partition: Mapping[str, str], account: str | None) -> bool:
    allowed = _allowed_accounts(partition)
    return allowed is None or (account or "").lower() in allowed


def _check_partition(cluster: Cluster, partition: Mapping[str, str]) -> None:
    name, limit = partition["PartitionName"], partition.get("MaxTime", "UNLIMITED")
    if limit != "UNLIMITED" and parse_seconds(cluster.time_limit) > parse_seconds(limit):
        raise InputError(
            f"time_limit = {cluster.time_limit!r} is too long: partition {name} allows {limit}; "
            "set at most that: SLURM would never start a longer job"
        )


def _check_user(cluster: Cluster, user: Association) -> None:
    account = (cluster.account or user.default).lower()
    if account not in user.accounts:
        hint = did_you_mean(account, user.accounts)
        raise InputError(f"{_given(cluster, user)} is not one of your accounts{hint}")
    qos = user.qos[account]
    if cluster.qos and qos and cluster.qos not in qos:
        hint = did_you_mean(cluster.qos, qos)
        raise InputError(f"qos = {cluster.qos!r} is not allowed for account {account!r}{hint}")


def _check_account(cluster: Cluster, partition: Mapping[str, str], user: Association) -> None:
    account, allowed = cluster.account or user.default, _allowed_accounts(partition)
    if allowed is not None and not _allows(partition, account):
        usable = sorted(user.accounts & set(allowed))
        fix = f'set account = "{usable[0]}"' if usable else "you have none of these"
        raise InputError(
            f"{_given(cluster, user)} is not allowed in partition {partition['PartitionName']}, "
            f"which allows {partition['AllowAccounts']}; {fix}"
        )


def _given(cluster: Cluster, user: Association) -> str:
    if cluster.account:
        return f"account = {cluster.account!r}"
    return f"your default account {user.default!r}"
