"""A worker: a process that runs trials of a sweep, one after another, until none is left.

There is no coordinator. Each worker first looks for an orphan, a trial whose worker has gone, and
continues it; only then it proposes a new trial. So whatever ends a worker, another one continues
its trial.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sweeps.filesystem.disk_space import disk_full_message, is_disk_full
from sweeps.search.study import Study
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.retention import needs_trimming, trim_checkpoints
from sweeps.storage.sweep import Sweep, open_sweep, stop_sweep
from sweeps.streams import OutputError
from sweeps.workers.claims import HEARTBEATS_PER_CLAIM, Claim, ClaimMonitor, claim_after, heartbeat
from sweeps.workers.device_access import DeviceAccess
from sweeps.workers.exit_codes import ExitCode
from sweeps.workers.propose import Proposer
from sweeps.workers.retry import FailureKind, retry_plan_of
from sweeps.workers.trial import TrialRun, longest_epoch, run_trial


@dataclass
class Worker:
    """One worker of one job."""

    sweep: Sweep
    study: Study
    job: str
    threads: int
    deadline: float = math.inf
    """When the last epoch must have ended, by this process's monotonic clock."""
    trials: int = 0
    """The number of trials after which the worker exits; 0 for no limit."""
    access: DeviceAccess = DeviceAccess.SINGLE
    """How the device is used; it decides which trials may be run."""
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set when the worker was asked to exit (by a signal)."""
    last_epoch_seconds: float = 0.0
    """Seconds of the longest epoch of the previous trial: the next trial's may take as long."""
    claim_monitor: ClaimMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.claim_monitor = ClaimMonitor(self.sweep.claim_seconds)

    def run(self) -> ExitCode:
        """Run trials until the time is up, the sweep is stopped, or nothing is left to do.

        A full disk stops the sweep, with the reason: any other worker would fail in the same way.

        Returns:
            The exit code of the process.

        Raises:
            OSError: the file system failed for another reason.
            OutputError: the log cannot be written, for another reason than a full disk.
        """
        try:
            for trial in filter(needs_trimming, self.sweep.paths.trials()):
                trim_checkpoints(trial)
            return self._run_trials()
        except (OSError, OutputError) as error:  # the log is on a disk, too
            if not is_disk_full(error):
                raise
            reason = disk_full_message(error, self.sweep.paths.folder)
            with contextlib.suppress(OSError):  # no space even for this: the exit code is enough
                stop_sweep(self.sweep.paths, reason)
            with contextlib.suppress(OSError, OutputError):
                print(reason, flush=True)
            return ExitCode.DISK_FULL

    def _run_trials(self) -> ExitCode:
        done = 0
        while (claim := self._next_claim()) is not None:
            exclusive = self.access.has_exclusive_use
            run = TrialRun(self.sweep, self.study, claim, self.must_leave, exclusive)
            with heartbeat(claim, interval_seconds=self.sweep.claim_seconds / HEARTBEATS_PER_CLAIM):
                run_trial(run)
            if run.process_failure is not None:
                is_memory = run.process_failure is FailureKind.OUT_OF_MEMORY
                return ExitCode.OUT_OF_MEMORY if is_memory else ExitCode.PROCESS_LOST
            if run.stopped and claim.is_held():  # released because time is up; claim not lost
                return ExitCode.DONE
            self.last_epoch_seconds = longest_epoch(claim.trial)
            done += 1
            if done == self.trials:
                return ExitCode.DONE
        needs_exclusive_use = not self.must_leave() and self._exclusive_trials_are_left()
        return ExitCode.OUT_OF_MEMORY if needs_exclusive_use else ExitCode.DONE

    def must_leave(self, epoch_seconds: float = 0.0) -> bool:
        """Return whether no further epoch, of `epoch_seconds`, may begin in this worker."""
        late = time.monotonic() + epoch_seconds >= self.deadline
        return late or self.leaving.is_set() or self.sweep.is_stopped()

    def _next_claim(self) -> Claim | None:
        """Return a trial to run, an orphan or else a new one; None if none is left for this worker.

        A worker waits while some open trial is not certainly claimed by a living worker: it may
        become an orphan.
        """
        while not self.must_leave(self.last_epoch_seconds):
            self._reload_plan()
            claim = self._claim_orphan() or self._propose()
            if claim is not None or self._every_open_trial_is_claimed():
                return claim
            if self._is_exclusive or self._exclusive_trials_are_left():
                return None
            time.sleep(min(1.0, self.sweep.claim_seconds / 10))
        return None

    def _reload_plan(self) -> None:
        """Follow the current plan, which may have more trials or another pruner than before."""
        current = open_sweep(self.sweep.paths)
        if current.plan != self.sweep.plan:
            self.sweep = current
            self.study.experiment = current.experiment

    def _propose(self) -> Claim | None:
        if self._is_exclusive:
            return None
        return Proposer(self.sweep, self.study, self.job, self.threads).propose()

    def _claim_orphan(self) -> Claim | None:
        for trial, orphan in self._orphans():
            if self._can_run(trial):
                claim = claim_after(trial, orphan.number, self.job)
                if claim is not None:
                    return claim
        return None

    def _can_run(self, trial: TrialPaths) -> bool:
        needs_exclusive_use = retry_plan_of(trial).exclusive
        if self._is_exclusive:
            return needs_exclusive_use
        return self.access.has_exclusive_use or not needs_exclusive_use

    def _exclusive_trials_are_left(self) -> bool:
        """Return whether there are orphans that need exclusive use, which this worker has not."""
        if self.access.has_exclusive_use:
            return False
        return any(retry_plan_of(trial).exclusive for trial, _ in self._orphans())

    @property
    def _is_exclusive(self) -> bool:
        """Whether it runs only trials that need exclusive use, and exits once there are none."""
        return self.access is DeviceAccess.EXCLUSIVE

    def _orphans(self) -> Iterator[tuple[TrialPaths, AttemptPaths]]:
        """Yield open trials whose worker has gone, each with its latest attempt.

        Claim the trial after that attempt: another worker may have claimed it since.
        """
        latest = ((trial, trial.attempts()[-1]) for trial in self._open_trials())
        return ((trial, last) for trial, last in latest if self.claim_monitor.is_orphan(last))

    def _every_open_trial_is_claimed(self) -> bool:
        return all(
            self.claim_monitor.is_alive(trial.attempts()[-1]) for trial in self._open_trials()
        )

    def _open_trials(self) -> list[TrialPaths]:
        """Return the trials whose end the study does not have yet."""
        return [trial for trial in self.sweep.paths.trials() if not trial.settled.exists()]
