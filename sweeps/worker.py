"""A worker: a process that runs trials of a sweep, one after another, until there is no more.

There is no driver. Each worker looks for a trial whose worker is gone, continues that, and only
then asks for a new one; so whatever ends a worker, the next to come carries on.

The order of record, which lets anything be killed at any time: the checkpoint of an epoch has
the epoch's row in it; then the row is appended to the trial's folder, then told to the study.
A trainer that continues yields the row of its checkpoint again, and doing all this twice changes
nothing. MLflow is written from the folders, by another process.
"""

import math
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sweeps import files
from sweeps.asking import Asker
from sweeps.claims import Claim, ClaimLostError, Lookout, heartbeat, take
from sweeps.experiment import Resolved
from sweeps.paths import AttemptPaths, TrialPaths
from sweeps.pruning import best
from sweeps.record import (
    Result,
    State,
    Trial,
    append_row,
    attempt_to_continue,
    continued_epoch,
    read_curve,
    read_result,
    read_trial,
    write_continued,
    write_result,
)
from sweeps.study import Study, Told
from sweeps.sweep import Sweep, forgiven, open_sweep, stop
from sweeps.trainer import Epoch

ALIKE_FAILURES = 3
"""So many failures of the same cause stop the sweep: a bug is not worth the allocation."""
FAILURES = 10
"""So many failures of any cause do."""


class TrainerError(Exception):
    """A trainer raised `cause`: its trial failed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class Worker:
    """One worker of one job."""

    sweep: Sweep
    study: Study
    job: str
    threads: int
    deadline: float = math.inf
    """When to leave, by this process's monotonic clock."""
    trials: int = 0
    """After how many trials to leave; 0 for never."""
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set once the worker was asked to leave (a signal)."""
    lookout: Lookout = field(init=False)

    def __post_init__(self) -> None:
        self.lookout = Lookout(self.sweep.claim_seconds)

    def work(self) -> None:
        """Run trials until the time is up, the sweep is stopped, or nothing is left to do."""
        done = 0
        while not self.must_leave() and (claim := self._next_claim()) is not None:
            with heartbeat(claim, every=self.sweep.claim_seconds / 6):
                run_trial(self, claim)
            done += 1
            if done == self.trials:
                return

    def must_leave(self) -> bool:
        """Whether no further epoch may begin here."""
        late = time.monotonic() >= self.deadline
        return late or self.leaving.is_set() or self.sweep.is_stopped()

    def _next_claim(self) -> Claim | None:
        """A trial to run: an orphan, else a new one; None once everything is in good hands."""
        while not self.must_leave():
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


def run_trial(worker: Worker, claim: Claim) -> None:
    """Run one trial from where its folder stands to its end, or to where it is given back."""
    try:
        result = read_result(claim.trial) or _train(worker, claim)
        claim.check()
        if result is None:
            claim.release()
        else:
            _settle(worker, claim, read_result(claim.trial) or result)
    except ClaimLostError as lost:
        print(lost, flush=True)


def _train(worker: Worker, claim: Claim) -> Result | None:
    """Train to the trial's end; None where the worker has to leave before."""
    if worker.study.member(claim.trial.number).told is not Told.NOTHING:
        # Its asker stood still so long that the study gave the proposal up.
        return Result(State.FAILED, None, None, 0, "the study had given the trial up")
    try:
        return _run_epochs(worker, claim)
    except TrainerError as error:
        cause = error.cause
        trace = traceback.format_exception(cause)
        files.write(claim.attempt.failure, "".join(trace))
        epochs = len(read_curve(claim.trial))
        return Result(State.FAILED, None, None, epochs, _message(cause), _place(cause))


@contextmanager
def _trainers_errors() -> Iterator[None]:
    """Mark what a trainer raises: it fails the trial, where an error of the record must not.

    An error of the operating system (a full disk, a server that is away) is none of the trial's:
    it ends this worker, and the trial stays open for the next.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise TrainerError(error) from error


def _epochs(
    worker: Worker, claim: Claim, trial: Trial, previous: AttemptPaths | None
) -> Iterator[Epoch]:
    trainer = worker.sweep.resolved.trainer
    with _trainers_errors():
        yield from trainer.fit(
            trainer.config.model_validate(trial.config),
            claim.attempt.checkpoints,
            continue_from=previous.checkpoints if previous else None,
            threads=trial.threads,
            should_stop=lambda: worker.must_leave() or not claim.is_held(),
            metric=worker.sweep.experiment.objective.metric,
            maximize=worker.sweep.experiment.objective.sign > 0,
        )


def _run_epochs(worker: Worker, claim: Claim) -> Result | None:
    trial = read_trial(claim.trial)
    previous = attempt_to_continue(claim.trial)
    if previous is None:
        write_continued(claim.attempt, 0)
    claim.attempt.checkpoints.mkdir(exist_ok=True)
    for epoch in _epochs(worker, claim, trial, previous):
        if continued_epoch(claim.attempt) is None:
            _carry_on(worker, claim, epoch)
        else:
            append_row(claim.attempt, epoch)
        state = _judge(worker, claim, epoch, is_last=epoch.epoch == trial.epochs)
        if state is not None:
            return _result(worker, claim, state, epoch)
    claim.check()
    if worker.must_leave():
        return None
    done = len(read_curve(claim.trial))
    reason = f"the trainer ended after {done} of {trial.epochs} epochs"
    return Result(State.FAILED, None, None, done, reason, reason)


def _carry_on(worker: Worker, claim: Claim, restored: Epoch) -> None:
    """Repair, from the row of the checkpoint, what the attempt before did not get to write."""
    write_continued(claim.attempt, restored.epoch)
    rows = read_curve(claim.trial)
    if all(row.epoch != restored.epoch for row in rows):
        append_row(claim.attempt, restored)
    claim.check()
    for row in rows:
        worker.study.report(claim.trial.number, row.epoch, objective(worker.sweep.resolved, row))


def _judge(worker: Worker, claim: Claim, epoch: Epoch, *, is_last: bool) -> State | None:
    """Tell the study of an epoch; the trial's end if this is it."""
    claim.check()
    resolved = worker.sweep.resolved
    worker.study.report(claim.trial.number, epoch.epoch, objective(resolved, epoch))
    if epoch.diverged is not None or not math.isfinite(_metric(resolved, epoch)):
        return State.DIVERGED
    if is_last:
        return State.COMPLETE
    if worker.study.verdict(claim.trial.number, epoch.epoch):
        return State.PRUNED
    return None


def objective(resolved: Resolved, epoch: Epoch) -> float:
    """What an epoch is worth: the metric, or the worst value where the training went wrong."""
    value = _metric(resolved, epoch)
    return value if epoch.diverged is None and math.isfinite(value) else resolved.worst


def _metric(resolved: Resolved, epoch: Epoch) -> float:
    return epoch.metrics.get(resolved.experiment.objective.metric, math.nan)


def _result(worker: Worker, claim: Claim, state: State, epoch: Epoch) -> Result:
    resolved = worker.sweep.resolved
    curve = {row.epoch: objective(resolved, row) for row in read_curve(claim.trial)}
    best_epoch, value = best(curve, resolved.experiment.objective)
    if state is State.DIVERGED:
        reason = epoch.diverged or f"{resolved.experiment.objective.metric} is not a finite number"
        return Result(state, resolved.worst, best_epoch, len(curve), reason)
    _illustrate(resolved, claim)
    return Result(state, value, best_epoch, len(curve))


def _illustrate(resolved: Resolved, claim: Claim) -> None:
    """Draw what the best model does; no trial that was trained fails for a picture."""
    try:
        with _trainers_errors():
            config = resolved.trainer.config.model_validate(read_trial(claim.trial).config)
            resolved.trainer.illustrate(config, claim.attempt.checkpoints, claim.attempt.picture)
    except (TrainerError, OSError) as error:
        print(f"trial {claim.trial.name}: no picture: {error}", flush=True)


def _settle(worker: Worker, claim: Claim, result: Result) -> None:
    """Record how the trial ended: in its folder, then in the study."""
    if read_result(claim.trial) is None:
        write_result(claim.trial, result)
    worker.study.tell(claim.trial.number, result)
    claim.trial.settled.touch()
    print(_line(claim, result), flush=True)
    if result.state is State.FAILED:
        _stop_if_alike(worker, result)


def _stop_if_alike(worker: Worker, result: Result) -> None:
    since = forgiven(worker.sweep.paths)
    results = [read_result(t) for t in worker.sweep.paths.trials() if t.number > since]
    failed = [r for r in results if r is not None and r.state is State.FAILED]
    alike = [r for r in failed if r.alike and r.alike == result.alike]
    if len(alike) >= ALIKE_FAILURES:
        stop(worker.sweep.paths, f"{len(alike)} trials failed alike: {result.reason}")
    elif len(failed) >= FAILURES:
        stop(worker.sweep.paths, f"{len(failed)} trials failed, the last one: {result.reason}")


def _message(error: Exception) -> str:
    place = _place(error).partition(" in ")[2]
    return f"{type(error).__name__}: {' '.join(str(error).split())} (in {place})"


def _place(error: Exception) -> str:
    """Kind and place of an error: what failures of one cause share, whatever they say."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, {Path(frame.filename).name}:{frame.lineno}"


def _line(claim: Claim, result: Result) -> str:
    value = "" if result.value is None else f" {result.value:.4f}"
    line = f"trial {claim.trial.name}: {result.state}{value} after {result.epochs} epochs"
    return f"{line}: {result.reason}" if result.reason else line
