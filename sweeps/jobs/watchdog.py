"""The watchdog: it kills workers that hang, and records workers that died with their trial.

A worker hangs if its heartbeat continues but no epoch ends. The supervisor watches its own workers
by its own clock and kills such a worker: a process that waits for a driver reacts to no other
signal. A worker without a trial waits for other workers, and that is not a hang.

A worker died if a signal ended it: the machine had not enough memory, a library had a fault, or a
person killed it. The signal does not show which. If the workers of a trial die again and again, and
none of them finishes an epoch, the trial counts as the cause. Otherwise it would cost the sweep
every worker.
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
"""A shorter wait for an epoch is never a hang: the worker may build a cache, or a file server may
be slow."""
EPOCH_MULTIPLE = 10.0
"""A wait shorter than this multiple of the sweep's longest epoch so far is never a hang."""
FIRST_EPOCH_SECONDS = 6 * 3600.0
"""How long an epoch may take while the sweep has finished none."""
CHECKS_PER_WAIT = 20
"""How often the workers are checked in MIN_WAIT_SECONDS; they are checked once a minute at least.
"""


@dataclass
class WorkerProgress:
    """The progress of a worker, and since when it has not changed."""

    attempt: AttemptPaths
    size: int
    """Size of the attempt's metrics file, in bytes; it grows with each epoch."""
    unchanged_since: float
    """By the monotonic clock."""


@dataclass
class Watchdog:
    """Watches the workers of one supervisor."""

    sweep: Sweep
    progress: dict[int, WorkerProgress] = field(default_factory=dict)
    """The last progress of each worker, by its process id."""
    next_check: float = 0.0
    """By the monotonic clock."""

    def check(self, slots: Slots) -> None:
        """Kill each worker that hangs, and record a failure for its trial's next worker."""
        if time.monotonic() < self.next_check:
            return
        fixed = self.sweep.plan.cluster.hang_seconds
        self.next_check = time.monotonic() + min(
            60.0, (fixed or MIN_WAIT_SECONDS) / CHECKS_PER_WAIT
        )
        for slot in slots:
            if slot.process is not None and slot.process.poll() is None:
                self._check_worker(slot, slot.process.pid)

    def _check_worker(self, slot: Slot, pid: int) -> None:
        now, last = time.monotonic(), self.progress.get(pid)
        attempt = attempt_of(self.sweep, Process.of(pid), None if last is None else last.attempt)
        if attempt is None:
            self.progress.pop(pid, None)
            return
        size = _metrics_size(attempt)
        if last is None or (last.attempt, last.size) != (attempt, size):
            self.progress[pid] = WorkerProgress(attempt, size, now)
        elif self._is_too_long(now - last.unchanged_since):
            self._kill(slot, last, now - last.unchanged_since)

    def _kill(self, slot: Slot, last: WorkerProgress, silence: float) -> None:
        slot.kill_worker()
        if _metrics_size(last.attempt) == last.size and not last.attempt.released.exists():
            message = f"no epoch ended for {silence:.0f} s"
            print_line(f"worker {slot.number} was killed: {message}")
            with contextlib.suppress(OSError):  # on a full disk the failure is not counted
                record_failure(last.attempt, Failure(FailureKind.HUNG, message, key="hung"))

    def _is_too_long(self, silence: float) -> bool:
        if fixed := self.sweep.plan.cluster.hang_seconds:
            return silence > fixed
        return silence > MIN_WAIT_SECONDS and silence > self._longest_expected_wait()

    def _longest_expected_wait(self) -> float:
        """Return how many seconds an epoch may take, by the sweep's epochs so far."""
        rows = (row for trial in self.sweep.paths.trials() for row in read_curve(trial))
        longest = max((row.seconds for row in rows), default=None)
        if longest is None:
            return FIRST_EPOCH_SECONDS
        return max(MIN_WAIT_SECONDS, EPOCH_MULTIPLE * longest)


def record_death(sweep: Sweep, death: WorkerDeath) -> bool:
    """Record a worker's death as a failure of the attempt that it worked on.

    Nothing is recorded if the worker had no trial, had finished an epoch of it or had recorded a
    failure itself, or if the folder cannot be read or written (a full disk).

    Returns:
        Whether the death was recorded.
    """
    with contextlib.suppress(OSError):
        attempt = attempt_of(sweep, death.process)
        # A failure that the worker itself recorded says more than a signal.
        if attempt is None or has_epoch(attempt) or attempt.failure.exists():
            return False
        cause = f"signal {death.signal} ({signal.strsignal(death.signal)})"
        message = f"{cause} before an epoch was finished: out of memory, or a fault in a library"
        record_failure(attempt, Failure(FailureKind.WORKER_DIED, message, key=f"died: {cause}"))
        return True
    return False


def attempt_of(
    sweep: Sweep, process: Process, last: AttemptPaths | None = None
) -> AttemptPaths | None:
    """Return the attempt that a process works on; None if it works on none.

    Args:
        sweep: the sweep whose trials are searched.
        process: the worker.
        last: its attempt at the last check. A worker whose claim is lost continues until it
            notices that, even if the trial has ended meanwhile.
    """
    for trial in sweep.paths.trials():
        is_last = last is not None and last.folder.is_relative_to(trial.folder)
        for attempt in [] if trial.settled.exists() and not is_last else trial.attempts():
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
