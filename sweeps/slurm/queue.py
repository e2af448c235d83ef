"""SLURM's queue as a sweep sees it: one `squeue` every so often, whoever asks.

What squeue answered is kept in the sweep's folder, and all who want to know (watchers, `sweeps
status`, a launcher, jobs at their end) read it there while it is fresh.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps import files
from sweeps.cluster import seconds
from sweeps.lock import Lock
from sweeps.paths import SweepPaths
from sweeps.slurm.commands import COMMAND_SECONDS, ask

FRESH_SECONDS = 30.0
"""How long an answer of squeue's is used: a scheduler has others to serve."""
_FORMAT = "%i|%T|%N|%L|%k|%r"


@dataclass(frozen=True)
class Entry:
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
    def waits(self) -> bool:
        """Whether it has not started, or was put back."""
        return self.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class Queue:
    """What squeue answered at one moment, by job number."""

    asked: float
    """When, in seconds since 1970 by the file server's clock."""
    entries: Mapping[str, Entry]


def look(paths: SweepPaths, *, patience: float = 0.0) -> Queue:
    """The queue, at most `FRESH_SECONDS` old.

    Raises:
        WorldError: SLURM does not answer.
    """
    kept = _read(paths.queue)
    if kept is not None:
        return kept
    with Lock(paths.lock("queue"), stale_after=2 * COMMAND_SECONDS).hold():
        kept = _read(paths.queue)  # another may have asked while this one waited
        if kept is not None:
            return kept
        answer = ask("squeue", "--me", "--noheader", "--array", f"-o{_FORMAT}", patience=patience)
        entries = [_entry(line) for line in answer.splitlines() if line.strip()]
        files.write(paths.queue, json.dumps([asdict(entry) for entry in entries]))
        return Queue(paths.queue.stat().st_mtime, {entry.id: entry for entry in entries})


def forget(paths: SweepPaths) -> None:
    """Have the next look ask SLURM itself: the queue has just been changed from here."""
    paths.queue.unlink(missing_ok=True)


def _read(path: Path) -> Queue | None:
    try:
        asked = path.stat().st_mtime
    except FileNotFoundError:
        return None
    content = files.read_json(path)
    if content is None or abs(time.time() - asked) >= FRESH_SECONDS:
        return None
    return Queue(asked, {fields["id"]: Entry(**fields) for fields in content})


def _entry(line: str) -> Entry:
    number, state, node, left, comment, reason = line.strip().split("|", 5)
    try:
        seconds_left = seconds(left)
    except ValueError:  # UNLIMITED, NOT_SET, INVALID
        seconds_left = None
    return Entry(number, state, node, seconds_left, "" if comment == "(null)" else comment, reason)
