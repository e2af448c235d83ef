"""SLURM's queue as a sweep sees it: one `squeue` a minute, whoever asks.

What squeue answered is kept beside the sweeps, and all who want to know (watchers, `sweeps
status`, a launcher, jobs at their end) read it there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sweeps.config.cluster import seconds
from sweeps.filesystem import atomic as files
from sweeps.jobs.slurm import rate_limit as budget
from sweeps.jobs.slurm.commands import ask
from sweeps.storage.paths import SlurmPaths, SweepPaths

FRESH_SECONDS = 60.0
"""How long an answer of squeue's is used: a scheduler has others to serve."""
OLD_SECONDS = 180.0
"""An answer that is older says nothing any more."""
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


def look(paths: SweepPaths, *, since: float = 0.0, fresh: float = FRESH_SECONDS) -> Queue:
    """The queue: what was kept of it, or asked for now where the minute allows that.

    Args:
        paths: of the sweep.
        since: the answer must be of after this moment, by the file server's clock; waited for.
        fresh: how old an answer may be that is taken without asking; what it is put lower for
            may use up the minute's questions, and does not wait for the next one.

    Returns:
        An answer that is a little old where SLURM was asked enough lately; one that knows of no
        job, of before all time, where there is none.

    Raises:
        WorldError: SLURM does not answer.
    """
    slurm = paths.slurm
    while True:
        if (kept := _kept(slurm, since, fresh)) is not None:
            return kept
        with budget.lock(slurm).hold():
            if (kept := _kept(slurm, since, fresh)) is not None:  # asked while this one waited
                return kept
            usable = _read(slurm, OLD_SECONDS)
            at_the_usual_pace = not since and fresh == FRESH_SECONDS
            spare = 1 if usable is not None and at_the_usual_pace else 0
            if budget.pause_before(slurm, spare=spare) <= 0:
                return _ask(slurm)
        if not since:
            return usable or Queue(0.0, {})
        budget.wait(slurm)


def _kept(slurm: SlurmPaths, since: float, fresh: float) -> Queue | None:
    kept = _read(slurm, OLD_SECONDS if since else fresh)
    return kept if kept is not None and kept.asked >= since else None


def _read(slurm: SlurmPaths, most: float) -> Queue | None:
    """What was kept, if it is not older than so many seconds."""
    content = files.read_json(slurm.queue)
    if content is None or abs(budget.now(slurm) - content["asked"]) >= most:
        return None
    return Queue(content["asked"], {e["id"]: Entry(**e) for e in content["entries"]})


def _ask(slurm: SlurmPaths) -> Queue:
    asked = budget.now(slurm)  # before: what changes meanwhile may not be in the answer
    budget.note(slurm)
    answer = ask("squeue", "--me", "--noheader", "--array", f"-o{_FORMAT}")
    entries = [_entry(line) for line in answer.splitlines() if line.strip()]
    content = {"asked": asked, "entries": [asdict(entry) for entry in entries]}
    files.write(slurm.queue, json.dumps(content))
    return Queue(asked, {entry.id: entry for entry in entries})


def _entry(line: str) -> Entry:
    number, state, node, left, comment, reason = line.strip().split("|", 5)
    try:
        seconds_left = seconds(left)
    except ValueError:  # UNLIMITED, NOT_SET, INVALID
        seconds_left = None
    return Entry(number, state, node, seconds_left, "" if comment == "(null)" else comment, reason)
