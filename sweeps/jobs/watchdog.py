"""Workers that hang are killed, and workers that died are noted on their trial.

Hanging: the heartbeat goes on, and no epoch comes. A supervisor watches its own workers by its own
clock and kills such a one; nothing milder reaches a process that waits for a driver. A worker
without a trial waits for others, and may.

Dying: a signal ended the worker, for want of the machine's memory, by a fault in a library, or by
hand; the signal does not say which. A trial whose workers die again and again, none of them with
a finished epoch, is taken for the cause; otherwise it would cost every worker of the sweep.
"""

import contextlib
import signal
import time
from dataclasses import dataclass, field

from sweeps.filesystem.process import Process
from sweeps.jobs.slots import Slot, Slots, print_line
from sweeps.storage.paths import AttemptPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import claim_owner, has_epoch, read_curve
from sweeps.workers.exit_codes import WorkerDeath
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
        now, known = time.monotonic(), self.progress.get(pid)
        attempt = attempt_of(self.sweep, Process.of(pid), None if known is None else known.attempt)
        if attempt is None:
            self.progress.pop(pid, None)
            return
        size = _metrics_size(attempt)
        if known is None or (known.attempt, known.size) != (attempt, size):
            self.progress[pid] = Progress(attempt, size, now)
        elif self._is_too_long(now - known.unchanged_since):
            self._kill(place, known, now - known.unchanged_since)

    def _kill(self, place: Slot, seen: Progress, silence: float) -> None:
        place.kill_worker()
        if _metrics_size(seen.attempt) == seen.size and not seen.attempt.released.exists():
            print_line(f"worker {place.number} was killed: no epoch came for {silence:.0f} s")
            message = f"no epoch came for {silence:.0f} s"
            with contextlib.suppress(OSError):  # a full disk: what cannot be noted does not count
                record_failure(seen.attempt, Failure(FailureKind.HUNG, message, key="hung"))

    def _is_too_long(self, silence: float) -> bool:
        if fixed := self.sweep.plan.cluster.hang_seconds:
            return silence > fixed
        return silence > MIN_WAIT_SECONDS and silence > self._longest_expected_wait()

    def _longest_expected_wait(self) -> float:
        """What an epoch of this sweep may take, by those that it has seen."""
        rows = (row for trial in self.sweep.paths.trials() for row in read_curve(trial))
        longest = max((row.seconds for row in rows), default=None)
        if longest is None:
            return FIRST_EPOCH_SECONDS
        return max(MIN_WAIT_SECONDS, EPOCH_MULTIPLE * longest)


def record_death(sweep: Sweep, death: WorkerDeath) -> bool:
    """Note on a dead worker's trial that it died; whether there was one without a finished epoch.

    Where the folder cannot be read or written (a full disk) the death is not noted.
    """
    with contextlib.suppress(OSError):
        attempt = attempt_of(sweep, death.process)
        # A worker that wrote down a failure itself has said more than a signal can.
        if attempt is None or has_epoch(attempt) or attempt.failure.exists():
            return False
        cause = f"signal {death.signal} ({signal.strsignal(death.signal)})"
        message = f"{cause} before an epoch was finished; out of memory, or a fault in a library?"
        record_failure(attempt, Failure(FailureKind.WORKER_DIED, message, key=f"died: {cause}"))
        return True
    return False


def attempt_of(
    sweep: Sweep, process: Process, known: AttemptPaths | None = None
) -> AttemptPaths | None:
    """The attempt that a process works on; None where it works on none.

    Args:
        sweep: whose trials are searched.
        process: the worker.
        known: its attempt when it was last seen. A worker whose claim is lost works on until it
            finds that out, also where the trial has ended meanwhile.
    """
    for trial in sweep.paths.trials():
        mine = known is not None and known.folder.is_relative_to(trial.folder)
        for attempt in [] if trial.settled.exists() and not mine else trial.attempts():
            is_claim_lost = trial.attempt(attempt.number + 1).claim.exists()
            is_open = is_claim_lost or not trial.settled.exists()
            if is_open and not attempt.released.exists() and claim_owner(attempt) == process:
                return attempt
    return None


def _metrics_size(attempt: AttemptPaths) -> int:
    try:
        return attempt.metrics.stat().st_size
    except FileNotFoundError:
        return 0
