"""Running one trial, from where its folder stands to its end or to where it is given back.

The order of record, which lets anything be killed at any time: the checkpoint of an epoch has
the epoch's row in it; then the row is appended to the trial's folder, then told to the study.
A trainer that continues yields the row of its checkpoint again, and doing all this twice changes
nothing. MLflow is written from the folders, by another process.
"""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.experiment import ResolvedExperiment
from sweeps.filesystem import atomic
from sweeps.filesystem.disk_space import check_disk_space, is_disk_full
from sweeps.search.pruning import best_epoch
from sweeps.search.study import ReportedState, Study
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.retention import remove_earlier_checkpoints, trim_checkpoints
from sweeps.storage.sweep import Sweep, retried_up_to, stop_sweep
from sweeps.storage.trial_record import (
    State,
    TrialResult,
    TrialSpec,
    append_row,
    as_first_recorded,
    continued_epoch,
    read_curve,
    read_result,
    read_spec,
    trained_attempts,
    write_continued,
    write_result,
)
from sweeps.trainer import Epoch
from sweeps.workers.claims import Claim, ClaimLostError
from sweeps.workers.retry import (
    MAX_ENVIRONMENT_FAILURES,
    Failure,
    FailureKind,
    consecutive_failures,
    failures_of,
    record_failure,
    result_after_failures,
    retry_plan_of,
)

MAX_SAME_FAILURES = 3
"""So many failures of the same cause stop the sweep: a bug is not worth the allocation."""
MAX_FAILURES = 10
"""So many failures of any cause do."""

RETRY_WAIT_SECONDS = 10.0
"""How long a worker waits that found a file or its data out of reach; twice as long each time."""

EPOCH_TIME_MARGIN = 1.1
"""An epoch may take so much longer than the trial's longest before it and still be in time."""


class TrainerError(Exception):
    """A trainer raised `cause`: its trial failed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class TrialRun:
    """A claim being worked on.

    Attributes:
        sweep: whose trial it is.
        study: the sweep's.
        claim: the right to run it.
        must_leave: whether the worker may begin no further epoch of so many seconds.
        alone: whether no other worker of the job uses the device.
        left: whether the trainer was told to stop.
        met: what makes this worker's process unfit to go on.
    """

    sweep: Sweep
    study: Study
    claim: Claim
    must_leave: Callable[[float], bool]
    exclusive: bool = True
    stopped: bool = False
    process_failure: FailureKind | None = None

    def should_stop(self) -> bool:
        """What the trainer asks before each epoch."""
        late = self.must_leave(EPOCH_TIME_MARGIN * longest_epoch(self.claim.trial))
        self.stopped = self.stopped or late or not self.claim.is_held()
        return self.stopped


def longest_epoch(trial: TrialPaths) -> float:
    """How many seconds the trial's longest epoch took so far."""
    return max((row.seconds for row in read_curve(trial)), default=0.0)


def run_trial(run: TrialRun) -> None:
    """Run one trial from where its folder stands to its end, or to where it is given back.

    Raises:
        OSError: the file system failed; where it is full, the trial was given back.
    """
    try:
        result = read_result(run.claim.trial) or _train(run)
        run.claim.check()
        if result is None:
            run.claim.release()
        else:
            _settle(run, result)
    except ClaimLostError as lost:
        _release_lost_claim(run, lost)
    except OSError as error:
        if is_disk_full(error):
            with contextlib.suppress(OSError):  # without that, the end of this process tells
                run.claim.release()
        elif not run.claim.is_held():  # the file that is missing went with the trial
            _release_lost_claim(run, error)
            return
        raise


def _release_lost_claim(run: TrialRun, reason: Exception) -> None:
    """Leave a trial that is this worker's no more; its supervisor sees that it does not hang."""
    print(reason, flush=True)
    with contextlib.suppress(FileNotFoundError):
        run.claim.release()


def _train(run: TrialRun) -> TrialResult | None:
    """Train to the trial's end; None where it is to be given back before."""
    if run.study.trial(run.claim.trial.number).reported is not ReportedState.NOTHING:
        # Its asker stood still so long that the study gave the proposal up.
        return TrialResult(State.FAILED, None, None, 0, "the study had given the trial up")
    trial, trainer = read_spec(run.claim.trial), run.sweep.resolved.trainer
    max_steps = trainer.max_accumulation_steps(trainer.config.model_validate(trial.config))
    if (
        end := result_after_failures(run.claim.trial, max_steps, run.sweep.resolved.worst_value)
    ) is not None:
        return end
    try:
        return _run_epochs(run, trial)
    except TrainerError as error:
        return _handle_trainer_error(run, error.cause)


def _handle_trainer_error(run: TrialRun, cause: Exception) -> TrialResult | None:
    """What became of a trial whose trainer raised; None where it is to be tried again.

    What the operating system refuses, or data that are away, are not the trial's fault. A process
    whose memory is in pieces or whose device is lost is of no use to the next trial, so that the
    worker leaves, whatever the number of tries.
    """
    run.claim.check()  # another's trial, or one that was removed, gets no note from here
    trainer = run.sweep.resolved.trainer
    kind = (
        "environment_unavailable" if isinstance(cause, OSError) else trainer.classify_error(cause)
    )
    if kind != "out_of_memory":
        trace = traceback.format_exception(cause)
        atomic.write(run.claim.attempt.traceback, "".join(trace))
    if kind == "bug":
        epochs = len(read_curve(run.claim.trial))
        return TrialResult(
            State.FAILED, None, None, epochs, _error_message(cause), _error_location(cause)
        )
    parts = retry_plan_of(run.claim.trial).accumulation_steps
    failure = Failure(
        FailureKind(kind), _error_message(cause), _error_location(cause), parts, run.exclusive
    )
    record_failure(run.claim.attempt, failure)
    print(f"trial {run.claim.trial.name}: {failure.kind}: {failure.message}", flush=True)
    if failure.kind is FailureKind.ENVIRONMENT_UNAVAILABLE:
        _wait_before_retry(run, failure)
    else:
        run.process_failure = failure.kind
    return None


def _wait_before_retry(run: TrialRun, failure: Failure) -> None:
    """Wait, longer each time, before the trial is tried again; stop the sweep if that is no use.

    The trial is kept meanwhile: whoever else took it would find the same.
    """
    tries = len(consecutive_failures(run.claim.trial, FailureKind.ENVIRONMENT_UNAVAILABLE))
    if tries >= MAX_ENVIRONMENT_FAILURES:
        name = run.claim.trial.name
        stop_sweep(run.sweep.paths, f"trial {name}, {tries} times in a row: {failure.message}")
    until = time.monotonic() + RETRY_WAIT_SECONDS * 2 ** (tries - 1)
    while time.monotonic() < until and not run.must_leave(0.0):
        time.sleep(0.2)


@contextlib.contextmanager
def _trainers_errors() -> Iterator[None]:
    """Mark what a trainer raises: it is the trial's, where an error of the record is not.

    A full disk is nobody's: it stops the sweep.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise
        raise TrainerError(error) from error


def _epochs(run: TrialRun, trial: TrialSpec, earlier: Sequence[AttemptPaths]) -> Iterator[Epoch]:
    trainer = run.sweep.resolved.trainer
    with _trainers_errors():
        yield from trainer.fit(
            trainer.config.model_validate(trial.config),
            run.claim.attempt.checkpoints,
            continue_from=[attempt.checkpoints for attempt in earlier],
            threads=trial.threads,
            should_stop=run.should_stop,
            objective=run.sweep.resolved.experiment.objective,
            accumulation_steps=retry_plan_of(run.claim.trial).accumulation_steps,
        )


def _run_epochs(run: TrialRun, trial: TrialSpec) -> TrialResult | None:
    earlier = [a for a in trained_attempts(run.claim.trial) if a.last_checkpoint.exists()]
    if not earlier:
        if (ended := read_result(run.claim.trial)) is not None:
            return ended  # by an owner that was given up: what there was to go on from is trimmed
        write_continued(run.claim.attempt, 0)
    run.claim.attempt.checkpoints.mkdir(exist_ok=True)
    _check_disk_space(run, earlier)
    for epoch in _epochs(run, trial, earlier):
        if (ended := read_result(run.claim.trial)) is not None:
            return ended
        if continued_epoch(run.claim.attempt) is None:
            _restore_record(run, epoch)
        else:
            append_row(run.claim.attempt, as_first_recorded(run.claim.trial, epoch))
        state = _report_epoch(run, epoch, is_last=epoch.epoch == trial.epochs)
        if state is not None:
            return _result(run, state, epoch)
        if epoch.epoch > (continued_epoch(run.claim.attempt) or 0):
            remove_earlier_checkpoints(run.claim.trial, run.claim.attempt)
        _check_disk_space(run, [run.claim.attempt])
    run.claim.check()
    if run.stopped:
        return None
    done = len(read_curve(run.claim.trial))
    reason = f"the trainer ended after {done} of {trial.epochs} epochs"
    return TrialResult(State.FAILED, None, None, done, reason, reason)


def _check_disk_space(run: TrialRun, checkpointed: Sequence[AttemptPaths]) -> None:
    """Before each epoch: one that could not be kept is not worth computing."""
    sizes = (attempt.last_checkpoint.stat().st_size for attempt in checkpointed)
    check_disk_space(run.claim.attempt.checkpoints, next(sizes, 0))


def _restore_record(run: TrialRun, restored: Epoch) -> None:
    """Repair, from the row of the checkpoint, what the attempt before did not get to write.

    Where every checkpoint was damaged the row is that of a first epoch, computed again.
    """
    write_continued(run.claim.attempt, restored.epoch)
    rows = read_curve(run.claim.trial)
    if all(row.epoch != restored.epoch for row in rows):
        append_row(run.claim.attempt, as_first_recorded(run.claim.trial, restored))
    run.claim.check()
    for row in rows:
        run.study.report(
            run.claim.trial.number, row.epoch, objective_value(run.sweep.resolved, row)
        )


def _report_epoch(run: TrialRun, epoch: Epoch, *, is_last: bool) -> State | None:
    """Tell the study of an epoch; the trial's end if this is it."""
    run.claim.check()
    resolved = run.sweep.resolved
    run.study.report(run.claim.trial.number, epoch.epoch, objective_value(resolved, epoch))
    if epoch.diverged is not None or not math.isfinite(_metric(resolved, epoch)):
        return State.DIVERGED
    if is_last:
        return State.COMPLETE
    if run.study.should_prune(run.claim.trial.number, epoch.epoch):
        return State.PRUNED
    return None


def objective_value(resolved: ResolvedExperiment, epoch: Epoch) -> float:
    """What an epoch is worth: the metric, or the worst value where the training went wrong."""
    value = _metric(resolved, epoch)
    return value if epoch.diverged is None and math.isfinite(value) else resolved.worst_value


def _metric(resolved: ResolvedExperiment, epoch: Epoch) -> float:
    return epoch.metrics.get(resolved.experiment.objective.metric, math.nan)


def _result(run: TrialRun, state: State, epoch: Epoch) -> TrialResult:
    resolved = run.sweep.resolved
    curve = {row.epoch: objective_value(resolved, row) for row in read_curve(run.claim.trial)}
    kept, value = best_epoch(curve, resolved.experiment.objective)
    if state is State.DIVERGED:
        reason = epoch.diverged or f"{resolved.experiment.objective.metric} is not a finite number"
        return TrialResult(state, resolved.worst_value, kept, len(curve), reason)
    _write_figure(run)
    return TrialResult(state, value, kept, len(curve))


def _write_figure(run: TrialRun) -> None:
    """Draw what the best model does; no trial that was trained fails for a picture.

    Not where a worker has died at the trial: it may have died of drawing.
    """
    if any(failure.kind is FailureKind.WORKER_DIED for failure in failures_of(run.claim.trial)):
        return
    trainer = run.sweep.resolved.trainer
    attempt = run.claim.attempt
    try:
        with _trainers_errors():
            config = trainer.config.model_validate(read_spec(run.claim.trial).config)
            trainer.write_figure(config, attempt.checkpoints, attempt.figure)
    except (TrainerError, OSError) as error:
        print(f"trial {run.claim.trial.name}: no picture: {error}", flush=True)


def _settle(run: TrialRun, result: TrialResult) -> None:
    """Record how the trial ended: in its folder, then in the study; only then drop files."""
    write_result(run.claim.trial, result)
    result = read_result(run.claim.trial) or result  # the first one written stands
    run.study.tell(run.claim.trial.number, result)
    run.claim.trial.settled.touch()
    trim_checkpoints(run.claim.trial)
    print(_result_line(run, result), flush=True)
    if result.state is State.FAILED:
        _stop_after_repeated_failures(run, result)


def _stop_after_repeated_failures(run: TrialRun, result: TrialResult) -> None:
    since = retried_up_to(run.sweep.paths)
    results = [read_result(t) for t in run.sweep.paths.trials() if t.number > since]
    failed = [r for r in results if r is not None and r.state is State.FAILED]
    alike = [r for r in failed if r.failure_key and r.failure_key == result.failure_key]
    if len(alike) >= MAX_SAME_FAILURES:
        stop_sweep(run.sweep.paths, f"{len(alike)} trials failed alike: {result.reason}")
    elif len(failed) >= MAX_FAILURES:
        stop_sweep(run.sweep.paths, f"{len(failed)} trials failed, the last one: {result.reason}")


def _error_message(error: Exception) -> str:
    place = _error_location(error).partition(" in ")[2]
    return f"{type(error).__name__}: {' '.join(str(error).split())} (in {place})"


def _error_location(error: Exception) -> str:
    """Kind and place of an error: what failures of one cause share, whatever they say."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, {Path(frame.filename).name}:{frame.lineno}"


def _result_line(run: TrialRun, result: TrialResult) -> str:
    value = "" if result.value is None else f" {result.value:.4f}"
    line = f"trial {run.claim.trial.name}: {result.state}{value} after {result.epochs} epochs"
    return f"{line}: {result.reason}" if result.reason else line
