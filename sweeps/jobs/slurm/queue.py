"""SLURM's queue as a sweep sees it: one `squeue` a minute, whoever asks.

What squeue answered is kept beside the sweeps, and all who want to know (watchers, `sweeps
status`, a launcher, jobs at their end) read it there.
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
"""How long an answer of squeue's is used: a scheduler has others to serve."""
EXPIRED_SECONDS = 180.0
"""An answer that is older says nothing any more."""
_FORMAT = "%i|%T|%N|%L|%k|%r"


@dataclass(frozen=True)
class QueueEntry:
    """A job of this user's that SLURM runs or keeps waiting.

    Attributes:
        id: its number; a task of an array has its own, `12_3`.
        state: `PENDING`, `RUNNING` and so on.
        node: where it runs; empty while it waits.
        seconds_left: of its time; None where SLURM does not say.
        comment: what it was submitted with.
        reason: why it waits, in SLURM's word.
    """

    id: str
    state: str
    node: str
    seconds_left: float | None
    comment: str
    reason: str

    @property
    def is_pending(self) -> bool:
        """Whether it has not started, or was put back."""
        return self.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class Queue:
    """What squeue answered at one moment, by job number."""

    queried_at: float
    """When, in seconds since 1970 by the file server's clock."""
    entries: Mapping[str, QueueEntry]


def read_queue(paths: SweepPaths, *, since: float = 0.0, max_age: float = MAX_AGE_SECONDS) -> Queue:
    """The queue: what was kept of it, or asked for now where the minute allows that.

    Args:
        paths: of the sweep.
        since: the answer must be of after this moment, by the file server's clock; waited for.
        max_age: how old an answer may be that is taken without asking; what it is put lower for
            may use up the minute's questions, and does not wait for the next one.

    Returns:
        An answer that is a little old where SLURM was asked enough lately; one that knows of no
        job, of before all time, where there is none.

    Raises:
        WorldError: SLURM does not answer.
    """
    slurm = paths.slurm
    while True:
        if (kept := _cached(slurm, since, max_age)) is not None:
            return kept
        with rate_limit.query_lock(slurm).hold():
            if (kept := _cached(slurm, since, max_age)) is not None:  # asked while this one waited
                return kept
            usable = _read(slurm, EXPIRED_SECONDS)
            at_the_usual_pace = not since and max_age == MAX_AGE_SECONDS
            spare = 1 if usable is not None and at_the_usual_pace else 0
            if rate_limit.seconds_until_allowed(slurm, spare=spare) <= 0:
                return _query(slurm)
        if not since:
            return usable or Queue(0.0, {})
        rate_limit.wait_until_allowed(slurm)


def _cached(slurm: SlurmPaths, since: float, fresh: float) -> Queue | None:
    kept = _read(slurm, EXPIRED_SECONDS if since else fresh)
    return kept if kept is not None and kept.queried_at >= since else None


def _read(slurm: SlurmPaths, most: float) -> Queue | None:
    """What was kept, if it is not older than so many seconds."""
    content = atomic.read_json(slurm.queue)
    if content is None or abs(rate_limit.file_server_time(slurm) - content["queried_at"]) >= most:
        return None
    return Queue(content["queried_at"], {e["id"]: QueueEntry(**e) for e in content["entries"]})


def _query(slurm: SlurmPaths) -> Queue:
    asked = rate_limit.file_server_time(
        slurm
    )  # before: what changes meanwhile may not be in the answer
    rate_limit.record_query(slurm)
    answer = run_command("squeue", "--me", "--noheader", "--array", f"-o{_FORMAT}")
    entries = [_entry(line) for line in answer.splitlines() if line.strip()]
    content = {"queried_at": asked, "entries": [asdict(entry) for entry in entries]}
    atomic.write(slurm.queue, json.dumps(content))
    return Queue(asked, {entry.id: entry for entry in entries})


def _entry(line: str) -> QueueEntry:
    number, state, node, left, comment, reason = line.strip().split("|", 5)
    try:
        seconds_left = parse_seconds(left)
    except ValueError:  # UNLIMITED, NOT_SET, INVALID
        seconds_left = None
    return QueueEntry(
        number, state, node, seconds_left, "" if comment == "(null)" else comment, reason
    )
