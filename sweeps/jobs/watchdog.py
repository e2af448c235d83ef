"""Workers that hang: their hearts beat, and no epoch comes.

A supervisor watches its own workers by its own clock and kills such a one; nothing milder reaches
a process that waits for a driver. A worker without a trial waits for others, and may.
"""

import contextlib
import time
from dataclasses import dataclass, field

from sweeps.filesystem.process import Process
from sweeps.jobs.slots import Slot, Slots, print_line
from sweeps.storage.paths import AttemptPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve
from sweeps.workers.claims import claim_owner
from sweeps.workers.retry import Failure, FailureKind, record_failure

MIN_WAIT_SECONDS = 1800.0
"""No wait for an epoch is called a hang before: a cache may be built, a file server be slow."""
EPOCH_MULTIPLE = 10.0
"""Nor before so many times the longest epoch that the sweep has seen."""
FIRST_EPOCH_SECONDS = 6 * 3600.0
"""How long it may take while nobody knows how long an epoch is."""
CHECKS_PER_WAIT = 20
"""So often in that time is looked, and once a minute at least."""


@dataclass
class Progress:
    """The progress of a worker, and since when it is the same."""

    attempt: AttemptPaths
    size: int
    """The size of the attempt's file of epochs."""
    unchanged_since: float


@dataclass
class Watchdog:
    """What a supervisor has seen of its workers."""

    sweep: Sweep
    progress: dict[int, Progress] = field(default_factory=dict)
    """By process number."""
    next_check: float = 0.0

    def check(self, places: Slots) -> None:
        """Kill each worker that hangs, and note it where its trial's next worker will see it."""
        if time.monotonic() < self.next_check:
            return
        fixed = self.sweep.plan.cluster.hang_seconds
        self.next_check = time.monotonic() + min(
            60.0, (fixed or MIN_WAIT_SECONDS) / CHECKS_PER_WAIT
        )
        for place in places:
            if place.process is not None and place.process.poll() is None:
                self._check_worker(place, place.process.pid)

    def _check_worker(self, place: Slot, pid: int) -> None:
        now = time.monotonic()
        attempt = self._attempt_of(pid)
        if attempt is None:
            self.progress.pop(pid, None)
            return
        known, rows = self.progress.get(pid), _metrics_size(attempt)
        if known is None or (known.attempt, known.size) != (attempt, rows):
            self.progress[pid] = Progress(attempt, rows, now)
        elif self._is_too_long(now - known.unchanged_since):
            self._kill(place, known, now - known.unchanged_since)

    def _kill(self, place: Slot, seen: Progress, silence: float) -> None:
        place.kill_worker()
        if _metrics_size(seen.attempt) == seen.size and not seen.attempt.released.exists():
            print_line(f"worker {place.number} was killed: no epoch came for {silence:.0f} s")
            message = f"no epoch came for {silence:.0f} s"
            with contextlib.suppress(OSError):  # a full disk: what cannot be noted does not count
                record_failure(seen.attempt, Failure(FailureKind.HUNG, message, key="hung"))

    def _attempt_of(self, pid: int) -> AttemptPaths | None:
        """What the worker is at; one that was robbed is at it until it says that it found out."""
        process = Process.of(pid)
        known = self.progress.get(pid)
        for trial in self.sweep.paths.trials():
            mine = known is not None and known.attempt.folder.is_relative_to(trial.folder)
            for attempt in [] if trial.settled.exists() and not mine else trial.attempts():
                robbed = trial.attempt(attempt.number + 1).claim.exists()
                is_open = robbed or not trial.settled.exists()
                if is_open and not attempt.released.exists() and claim_owner(attempt) == process:
                    return attempt
        return None

    def _is_too_long(self, silence: float) -> bool:
        if fixed := self.sweep.plan.cluster.hang_seconds:
            return silence > fixed
        return silence > MIN_WAIT_SECONDS and silence > self._longest_expected_wait()

    def _longest_expected_wait(self) -> float:
        """What an epoch of this sweep may take, by those that it has seen."""
        rows = (row for trial in self.sweep.paths.trials() for row in read_curve(trial))
        longest = max((row.seconds for row in rows), default=None)
        return (
            FIRST_EPOCH_SECONDS
            if longest is None
            else max(MIN_WAIT_SECONDS, EPOCH_MULTIPLE * longest)
        )


def _metrics_size(attempt: AttemptPaths) -> int:
    try:
        return attempt.metrics.stat().st_size
    except FileNotFoundError:
        return 0
