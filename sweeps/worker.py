"""A worker: a process that runs trials of a sweep, one after another, until there is no more.

There is no driver. Each worker looks for a trial whose worker is gone, continues that, and only
then asks for a new one; so whatever ends a worker, the next to come carries on.
"""

import contextlib
import math
import threading
import time
from dataclasses import dataclass, field

from sweeps.asking import Asker
from sweeps.claims import BEATS, Claim, Lookout, heartbeat, take
from sweeps.ends import End
from sweeps.paths import TrialPaths
from sweeps.room import is_full, want_of_room
from sweeps.study import Study
from sweeps.sweep import Sweep, open_sweep, stop
from sweeps.trial import TrialRun, longest_epoch, run_trial
from sweeps.trimming import trim, was_left_whole


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
            self._run_trials()
        except OSError as error:
            if not is_full(error):
                raise
            reason = want_of_room(error, self.sweep.paths.folder)
            with contextlib.suppress(OSError):  # not even that has room: the status tells the job
                stop(self.sweep.paths, reason)
            with contextlib.suppress(OSError):
                print(reason, flush=True)
            return End.FULL
        return End.DONE

    def _run_trials(self) -> None:
        done = 0
        while (claim := self._next_claim()) is not None:
            run = TrialRun(self.sweep, self.study, claim, self.must_leave)
            with heartbeat(claim, every=self.sweep.claim_seconds / BEATS):
                run_trial(run)
            if run.left and claim.is_held():  # given back for want of time, not lost to another
                return
            self.usual_seconds = longest_epoch(claim.trial)
            done += 1
            if done == self.trials:
                return

    def must_leave(self, epoch_seconds: float = 0.0) -> bool:
        """Whether no further epoch, of so many seconds, may begin here."""
        late = time.monotonic() + epoch_seconds >= self.deadline
        return late or self.leaving.is_set() or self.sweep.is_stopped()

    def _next_claim(self) -> Claim | None:
        """A trial to run: an orphan, else a new one; None once everything is in good hands."""
        while not self.must_leave(self.usual_seconds):
            self._look_at_the_plan()
            claim = self._adopt() or Asker(self.sweep, self.study, self.job, self.threads).ask()
            if claim is not None or self._all_in_good_hands():
                return claim
            time.sleep(min(1.0, self.sweep.claim_seconds / 10))
        return None

    def _look_at_the_plan(self) -> None:
        """Go by what the sweep was last given: more trials, another pruner."""
        now = open_sweep(self.sweep.paths)
        if now.plan != self.sweep.plan:
            self.sweep = now
            self.study.experiment = now.experiment

    def _adopt(self) -> Claim | None:
        for trial in self._open_trials():
            last = trial.attempts()[-1]
            if self.lookout.is_orphan(last):
                claim = take(trial, last.number, self.job)
                if claim is not None:
                    return claim
        return None

    def _all_in_good_hands(self) -> bool:
        return all(self.lookout.is_alive(trial.attempts()[-1]) for trial in self._open_trials())

    def _open_trials(self) -> list[TrialPaths]:
        """Trials that the study has not been told the end of."""
        return [trial for trial in self.sweep.paths.trials() if not trial.settled.exists()]
