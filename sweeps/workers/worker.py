"""A worker: a process that runs trials of a sweep, one after another, until there is no more.

There is no driver. Each worker looks for a trial whose worker is gone, continues that, and only
then asks for a new one; so whatever ends a worker, the next to come carries on.
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
    """When the last epoch is to have ended, by this process's monotonic clock."""
    trials: int = 0
    """After how many trials to leave; 0 for never."""
    access: DeviceAccess = DeviceAccess.SINGLE
    """With whom the device is shared; which trials may be run follows from it."""
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set once the worker was asked to leave (a signal)."""
    last_epoch_seconds: float = 0.0
    """How long an epoch of the trial before took: the next one's may take as long."""
    claim_monitor: ClaimMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.claim_monitor = ClaimMonitor(self.sweep.claim_seconds)

    def run(self) -> ExitCode:
        """Run trials until the time is up, the sweep is stopped, or nothing is left to do.

        A full disk stops the sweep, and says so: each worker to come would find the same.
        """
        try:
            for trial in filter(needs_trimming, self.sweep.paths.trials()):
                trim_checkpoints(trial)
            return self._run_trials()
        except OSError as error:
            if not is_disk_full(error):
                raise
            reason = disk_full_message(error, self.sweep.paths.folder)
            with contextlib.suppress(OSError):  # not even that has room: the status tells the job
                stop_sweep(self.sweep.paths, reason)
            with contextlib.suppress(OSError):
                print(reason, flush=True)
            return ExitCode.DISK_FULL

    def _run_trials(self) -> ExitCode:
        done = 0
        while (claim := self._next_claim()) is not None:
            run = TrialRun(self.sweep, self.study, claim, self.must_leave, self.access.is_alone)
            with heartbeat(claim, interval_seconds=self.sweep.claim_seconds / HEARTBEATS_PER_CLAIM):
                run_trial(run)
            if run.process_failure is not None:
                is_memory = run.process_failure is FailureKind.OUT_OF_MEMORY
                return ExitCode.OUT_OF_MEMORY if is_memory else ExitCode.PROCESS_LOST
            if run.stopped and claim.is_held():  # given back for want of time, not lost to another
                return ExitCode.DONE
            self.last_epoch_seconds = longest_epoch(claim.trial)
            done += 1
            if done == self.trials:
                return ExitCode.DONE
        needs_device = not self.must_leave() and self._exclusive_trials_are_left()
        return ExitCode.OUT_OF_MEMORY if needs_device else ExitCode.DONE

    def must_leave(self, epoch_seconds: float = 0.0) -> bool:
        """Whether no further epoch, of so many seconds, may begin here."""
        late = time.monotonic() + epoch_seconds >= self.deadline
        return late or self.leaving.is_set() or self.sweep.is_stopped()

    def _next_claim(self) -> Claim | None:
        """A trial to run: an orphan, else a new one; None once everything is in good hands."""
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
        """Go by what the sweep was last given: more trials, another pruner."""
        now = open_sweep(self.sweep.paths)
        if now.plan != self.sweep.plan:
            self.sweep = now
            self.study.experiment = now.experiment

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
        needs_device = retry_plan_of(trial).exclusive
        return needs_device if self._is_exclusive else self.access.is_alone or not needs_device

    def _exclusive_trials_are_left(self) -> bool:
        """Whether there are trials that only a worker alone on its device may take up."""
        if self.access.is_alone:
            return False
        return any(retry_plan_of(trial).exclusive for trial, _ in self._orphans())

    @property
    def _is_exclusive(self) -> bool:
        """Whether it runs only trials that need the whole device, and leaves once there is none."""
        return self.access is DeviceAccess.EXCLUSIVE

    def _orphans(self) -> Iterator[tuple[TrialPaths, AttemptPaths]]:
        """Open trials whose worker is gone, each with the attempt that was found so.

        Who takes one up goes on from that attempt: another may have claimed the trial since.
        """
        latest = ((trial, trial.attempts()[-1]) for trial in self._open_trials())
        return ((trial, last) for trial, last in latest if self.claim_monitor.is_orphan(last))

    def _every_open_trial_is_claimed(self) -> bool:
        return all(
            self.claim_monitor.is_alive(trial.attempts()[-1]) for trial in self._open_trials()
        )

    def _open_trials(self) -> list[TrialPaths]:
        """Trials that the study has not been told the end of."""
        return [trial for trial in self.sweep.paths.trials() if not trial.settled.exists()]
