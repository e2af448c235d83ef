"""SLURM's queue: one `squeue` a minute for all processes that need it.

The last answer of squeue is stored beside the sweeps. Watchers, `sweeps status`, launchers and
jobs at their end read it there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sweeps.config.cluster import parse_seconds
from sweeps.filesystem import atomic
from sweeps.jobs.slurm import rate_limit
from sweeps.jobs.slurm.commands import run_command
from sweeps.storage.paths import SlurmPaths, SweepPaths

MAX_AGE_SECONDS = 60.0
"""How long an answer of squeue is used: the scheduler has many users to serve."""
EXPIRED_SECONDS = 180.0
"""An older answer is not used at all."""
_FORMAT = "%i|%T|%N|%L|%k|%r"


@dataclass(frozen=True)
class QueueEntry:
    """A job of this user in SLURM's queue.

    Attributes:
        id: the job's id; a task of an array has its own, `12_3`.
        state: SLURM's state: `PENDING`, `RUNNING` and so on.
        node: the node that runs the job; empty while it is pending.
        seconds_left: seconds until its time limit; None if SLURM does not give them.
        comment: the comment given at submission.
        reason: SLURM's reason why the job is pending.
    """

    id: str
    state: str
    node: str
    seconds_left: float | None
    comment: str
    reason: str

    @property
    def is_pending(self) -> bool:
        """Whether the job has not started, or was requeued."""
        return self.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class Queue:
    """One answer of squeue."""

    queried_at: float
    """When squeue was asked, in seconds since 1970 by the file server's clock; 0 if never."""
    entries: Mapping[str, QueueEntry]
    """The jobs by their ids."""


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
    while True:
        if (stored := _stored_since(slurm, since, max_age)) is not None:
            return stored
        with rate_limit.query_lock(slurm).hold():
            # Another process may have asked while this one waited for the lock.
            if (stored := _stored_since(slurm, since, max_age)) is not None:
                return stored
            usable = _read(slurm, EXPIRED_SECONDS)
            is_routine = not since and max_age == MAX_AGE_SECONDS
            spare = 1 if usable is not None and is_routine else 0
            if rate_limit.seconds_until_allowed(slurm, spare=spare) <= 0:
                return _query(slurm)
        if not since:
            return usable or Queue(0.0, {})
        rate_limit.wait_until_allowed(slurm)


def _stored_since(slurm: SlurmPaths, since: float, max_age: float) -> Queue | None:
    stored = _read(slurm, EXPIRED_SECONDS if since else max_age)
    return stored if stored is not None and stored.queried_at >= since else None


def _read(slurm: SlurmPaths, max_age: float) -> Queue | None:
    """Return the stored answer; None if there is none, or it is older than `max_age` seconds."""
    content = atomic.read_json(slurm.queue)
    if content is None:
        return None
    if abs(rate_limit.file_server_time(slurm) - content["queried_at"]) >= max_age:
        return None
    return Queue(content["queried_at"], {e["id"]: QueueEntry(**e) for e in content["entries"]})


def _query(slurm: SlurmPaths) -> Queue:
    # The time before the command: a change during it may be missing in the answer.
    queried_at = rate_limit.file_server_time(slurm)
    rate_limit.record_query(slurm)
    answer = run_command("squeue", "--me", "--noheader", "--array", f"-o{_FORMAT}")
    entries = [_entry(line) for line in answer.splitlines() if line.strip()]
    content = {"queried_at": queried_at, "entries": [asdict(entry) for entry in entries]}
    atomic.write(slurm.queue, json.dumps(content))
    return Queue(queried_at, {entry.id: entry for entry in entries})


def _entry(line: str) -> QueueEntry:
    number, state, node, left, comment, reason = line.strip().split("|", 5)
    try:
        seconds_left = parse_seconds(left)
    except ValueError:  # UNLIMITED, NOT_SET, INVALID
        seconds_left = None
    return QueueEntry(
        number, state, node, seconds_left, "" if comment == "(null)" else comment, reason
    )
