"""SLURM's queue: one `squeue` a minute for all processes that need it.

The last answer of squeue is stored beside the sweeps. Watchers, `sweeps status`, launchers and
jobs at their end read it there.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sweeps.filesystem import atomic
from sweeps.jobs.slurm import queries, rate_limit
from sweeps.jobs.slurm.answers import QueueEntry, read_queue_answer
from sweeps.jobs.slurm.commands import run_command
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.storage.paths import SlurmPaths, SweepPaths

MAX_AGE_SECONDS = 60.0
"""How long an answer of squeue is used: the scheduler has many users to serve."""
EXPIRED_SECONDS = 180.0
"""An older answer is not used at all."""


@dataclass(frozen=True)
class Queue:
    """One answer of squeue."""

    queried_at: float
    """When squeue was asked, in seconds since 1970 by the file server's clock; 0 if never."""
    entries: Mapping[str, QueueEntry]
    """The jobs that run or are pending, by their ids."""
    ended: Mapping[str, QueueEntry] = field(default_factory=dict)
    """Jobs that have ended but that SLURM still knows, by their ids."""

    @classmethod
    def of(cls, queried_at: float, jobs: Iterable[QueueEntry]) -> Self:
        """Return the answer with these jobs."""
        found: tuple[dict[str, QueueEntry], dict[str, QueueEntry]] = ({}, {})
        for job in jobs:
            found[job.has_ended][job.id] = job
        return cls(queried_at, *found)


def read_queue(paths: SweepPaths, *, since: float = 0.0, max_age: float = MAX_AGE_SECONDS) -> Queue:
    """Return the stored answer of squeue, or a new one if the rate limit allows that.

    Args:
        paths: the sweep's paths.
        since: the answer must be newer than this time, by the file server's clock. The call waits
            for the rate limit until it is.
        max_age: how old, in seconds, a stored answer may be. With a lower value than the default
            the call may use the last command of the minute. It does not wait for the next one.

    Returns:
        An older answer if the rate limit allows no new one now, and `since` is not given. If there
        is none either, an empty queue with `queried_at` 0.

    Raises:
        EnvironmentFailure: SLURM does not answer.
    """
    slurm = paths.slurm
    cluster = cluster_name(slurm)  # before the lock: it may ask SLURM, too
    while True:
        if (stored := _stored_since(slurm, cluster, since, max_age)) is not None:
            return stored
        with rate_limit.query_lock(slurm).hold():
            # Another process may have asked while this one waited for the lock.
            if (stored := _stored_since(slurm, cluster, since, max_age)) is not None:
                return stored
            usable = _read(slurm, cluster, EXPIRED_SECONDS)
            is_routine = not since and max_age == MAX_AGE_SECONDS
            spare = 1 if usable is not None and is_routine else 0
            if rate_limit.seconds_until_allowed(slurm, spare=spare) <= 0:
                return _query(slurm, cluster)
        if not since:
            return usable or Queue(0.0, {})
        rate_limit.wait_until_allowed(slurm)


def _stored_since(slurm: SlurmPaths, cluster: str, since: float, max_age: float) -> Queue | None:
    stored = _read(slurm, cluster, EXPIRED_SECONDS if since else max_age)
    return stored if stored is not None and stored.queried_at >= since else None


def _read(slurm: SlurmPaths, cluster: str, max_age: float) -> Queue | None:
    """Return the stored answer; None if there is none, or it is older than `max_age` seconds."""
    content = _stored_answers(slurm).get(cluster)
    if content is None:
        return None
    if abs(rate_limit.file_server_time(slurm) - content["queried_at"]) >= max_age:
        return None
    return Queue.of(content["queried_at"], [QueueEntry(**entry) for entry in content["jobs"]])


def _query(slurm: SlurmPaths, cluster: str) -> Queue:
    # The time before the command: a change during it may be missing in the answer.
    queried_at = rate_limit.file_server_time(slurm)
    rate_limit.record_query(slurm)
    found = read_queue_answer(run_command(*queries.queue()))
    jobs = [job for job in found if not cluster or job.cluster in {"", cluster}]
    content = {"queried_at": queried_at, "jobs": [asdict(job) for job in jobs]}
    answers = _stored_answers(slurm) | {cluster: content}
    atomic.write(slurm.queue, json.dumps({"answers": answers}))
    return Queue.of(queried_at, jobs)


def _stored_answers(slurm: SlurmPaths) -> dict[str, Any]:
    """Return the last answer of each cluster; an earlier version's file has none in this form."""
    content = atomic.read_json(slurm.queue) or {}
    return dict(content.get("answers", {}))
