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

from sweeps.filesystem.disk_space import is_full, want_of_room
from sweeps.search.study import Study
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.retention import trim, was_left_whole
from sweeps.storage.sweep import Sweep, open_sweep, stop
from sweeps.workers.claims import BEATS, Claim, Lookout, heartbeat, take
from sweeps.workers.exit_codes import End
from sweeps.workers.propose import Asker
from sweeps.workers.retry import Kind, way_of
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
    alone: bool = True
    """Whether no other worker of the job uses the device."""
    only_lonely: bool = False
    """Whether to run only trials that need that, and to leave once there is none."""
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set once the worker was asked to leave (a signal)."""
    usual_seconds: float = 0.0
    """How long an epoch of the trial before took: the next one's may take as long."""
    lookout: Lookout = field(init=False)

    def __post_init__(self) -> None:
        self.lookout = Lookout(self.sweep.claim_seconds)

    def work(self) -> End:
        """Run trials until the time is up, the sweep is stopped, or nothing is left to do.

        A full disk stops the sweep, and says so: each worker to come would find the same.
        """
        try:
            for trial in filter(was_left_whole, self.sweep.paths.trials()):
                trim(trial)
            return self._run_trials()
        except OSError as error:
            if not is_full(error):
                raise
            reason = want_of_room(error, self.sweep.paths.folder)
            with contextlib.suppress(OSError):  # not even that has room: the status tells the job
                stop(self.sweep.paths, reason)
            with contextlib.suppress(OSError):
                print(reason, flush=True)
            return End.FULL

    def _run_trials(self) -> End:
        done = 0
        while (claim := self._next_claim()) is not None:
            run = TrialRun(self.sweep, self.study, claim, self.must_leave, self.alone)
            with heartbeat(claim, every=self.sweep.claim_seconds / BEATS):
                run_trial(run)
            if run.met is not None:
                return End.MEMORY if run.met is Kind.MEMORY else End.UNUSABLE
            if run.left and claim.is_held():  # given back for want of time, not lost to another
                return End.DONE
            self.usual_seconds = longest_epoch(claim.trial)
            done += 1
            if done == self.trials:
                return End.DONE
        is_wanted_alone = not self.must_leave() and self._leaves_some_to_a_lonely_worker()
        return End.MEMORY if is_wanted_alone else End.DONE

    def must_leave(self, epoch_seconds: float = 0.0) -> bool:
        """Whether no further epoch, of so many seconds, may begin here."""
        late = time.monotonic() + epoch_seconds >= self.deadline
        return late or self.leaving.is_set() or self.sweep.is_stopped()

    def _next_claim(self) -> Claim | None:
        """A trial to run: an orphan, else a new one; None once everything is in good hands."""
        while not self.must_leave(self.usual_seconds):
            self._look_at_the_plan()
            claim = self._adopt() or self._ask()
            if claim is not None or self._all_in_good_hands():
                return claim
            if self.only_lonely or self._leaves_some_to_a_lonely_worker():
                return None
            time.sleep(min(1.0, self.sweep.claim_seconds / 10))
        return None

    def _look_at_the_plan(self) -> None:
        """Go by what the sweep was last given: more trials, another pruner."""
        now = open_sweep(self.sweep.paths)
        if now.plan != self.sweep.plan:
            self.sweep = now
            self.study.experiment = now.experiment

    def _ask(self) -> Claim | None:
        if self.only_lonely:
            return None
        return Asker(self.sweep, self.study, self.job, self.threads).ask()

    def _adopt(self) -> Claim | None:
        for trial, orphan in self._orphans():
            if self._may_run(trial):
                claim = take(trial, orphan.number, self.job)
                if claim is not None:
                    return claim
        return None

    def _may_run(self, trial: TrialPaths) -> bool:
        is_lonely = way_of(trial).alone
        return (self.alone or not is_lonely) and (is_lonely or not self.only_lonely)

    def _leaves_some_to_a_lonely_worker(self) -> bool:
        """Whether there are trials that only a worker alone on its device may take up."""
        return not self.alone and any(way_of(trial).alone for trial, _ in self._orphans())

    def _orphans(self) -> Iterator[tuple[TrialPaths, AttemptPaths]]:
        """Open trials whose worker is gone, each with the attempt that was found so.

        Who takes one up goes on from that attempt: another may have claimed the trial since.
        """
        latest = ((trial, trial.attempts()[-1]) for trial in self._open_trials())
        return ((trial, last) for trial, last in latest if self.lookout.is_orphan(last))

    def _all_in_good_hands(self) -> bool:
        return all(self.lookout.is_alive(trial.attempts()[-1]) for trial in self._open_trials())

    def _open_trials(self) -> list[TrialPaths]:
        """Trials that the study has not been told the end of."""
        return [trial for trial in self.sweep.paths.trials() if not trial.settled.exists()]
