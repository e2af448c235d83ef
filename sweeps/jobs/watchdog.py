"""Workers that hang: their hearts beat, and no epoch comes.

A supervisor watches its own workers by its own clock and kills such a one; nothing milder reaches
a process that waits for a driver. A worker without a trial waits for others, and may.
"""

import contextlib
import time
from dataclasses import dataclass, field

from sweeps.filesystem.process import Process
from sweeps.jobs.slots import Place, Places, say
from sweeps.storage.paths import AttemptPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve
from sweeps.workers.claims import owner_of
from sweeps.workers.retry import Kind, Trouble, note

LEAST_SECONDS = 1800.0
"""No wait for an epoch is called a hang before: a cache may be built, a file server be slow."""
TIMES = 10.0
"""Nor before so many times the longest epoch that the sweep has seen."""
FIRST_SECONDS = 6 * 3600.0
"""How long it may take while nobody knows how long an epoch is."""
LOOKS = 20
"""So often in that time is looked, and once a minute at least."""


@dataclass
class Seen:
    """The progress of a worker, and since when it is the same."""

    attempt: AttemptPaths
    rows: int
    """The size of the attempt's file of epochs."""
    since: float


@dataclass
class Watch:
    """What a supervisor has seen of its workers."""

    sweep: Sweep
    seen: dict[int, Seen] = field(default_factory=dict)
    """By process number."""
    not_before: float = 0.0

    def look(self, places: Places) -> None:
        """Kill each worker that hangs, and note it where its trial's next worker will see it."""
        if time.monotonic() < self.not_before:
            return
        fixed = self.sweep.plan.cluster.hang_seconds
        self.not_before = time.monotonic() + min(60.0, (fixed or LEAST_SECONDS) / LOOKS)
        for place in places:
            if place.process is not None and place.process.poll() is None:
                self._look_at(place, place.process.pid)

    def _look_at(self, place: Place, pid: int) -> None:
        now = time.monotonic()
        attempt = self._attempt_of(pid)
        if attempt is None:
            self.seen.pop(pid, None)
            return
        known, rows = self.seen.get(pid), _rows(attempt)
        if known is None or (known.attempt, known.rows) != (attempt, rows):
            self.seen[pid] = Seen(attempt, rows, now)
        elif self._is_too_long(now - known.since):
            self._kill(place, known, now - known.since)

    def _kill(self, place: Place, seen: Seen, silence: float) -> None:
        place.free()
        if _rows(seen.attempt) == seen.rows and not seen.attempt.released.exists():
            say(f"worker {place.number} was killed: no epoch came for {silence:.0f} s")
            message = f"no epoch came for {silence:.0f} s"
            with contextlib.suppress(OSError):  # a full disk: what cannot be noted does not count
                note(seen.attempt, Trouble(Kind.HUNG, message, alike="hung"))

    def _attempt_of(self, pid: int) -> AttemptPaths | None:
        """What the worker is at; one that was robbed is at it until it says that it found out."""
        process = Process.of(pid)
        known = self.seen.get(pid)
        for trial in self.sweep.paths.trials():
            mine = known is not None and known.attempt.folder.is_relative_to(trial.folder)
            for attempt in [] if trial.settled.exists() and not mine else trial.attempts():
                robbed = trial.attempt(attempt.number + 1).claim.exists()
                is_open = robbed or not trial.settled.exists()
                if is_open and not attempt.released.exists() and owner_of(attempt) == process:
                    return attempt
        return None

    def _is_too_long(self, silence: float) -> bool:
        if fixed := self.sweep.plan.cluster.hang_seconds:
            return silence > fixed
        return silence > LEAST_SECONDS and silence > self._longest_wait()

    def _longest_wait(self) -> float:
        """What an epoch of this sweep may take, by those that it has seen."""
        rows = (row for trial in self.sweep.paths.trials() for row in read_curve(trial))
        longest = max((row.seconds for row in rows), default=None)
        return FIRST_SECONDS if longest is None else max(LEAST_SECONDS, TIMES * longest)


def _rows(attempt: AttemptPaths) -> int:
    try:
        return attempt.metrics.stat().st_size
    except FileNotFoundError:
        return 0
