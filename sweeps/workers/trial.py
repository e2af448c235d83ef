"""Running one trial, from its latest checkpoint to its end, or until it is released.

The order of record, because of which a process may be killed at any time: the checkpoint of an
epoch contains the epoch's row; then the row is appended to the trial's folder; then it is reported
to the study. A trainer that continues yields the row of its checkpoint again, and repeating these
steps changes nothing. Another process writes MLflow from the folders.
"""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.resolve import ResolvedExperiment
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
    mark_phase,
    read_curve,
    read_result,
    read_spec,
    trained_attempts,
    write_continued,
    write_result,
)
from sweeps.streams import OutputError
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
"""Failed trials of the same cause that stop the sweep: a bug must not use up the allocation."""
MAX_FAILURES = 10
"""Failed trials of any cause that stop the sweep."""

RETRY_WAIT_SECONDS = 10.0
"""How long a worker waits if the environment is unavailable; twice as long each further time."""

EPOCH_TIME_MARGIN = 1.1
"""An epoch is expected to take at most this multiple of the trial's longest epoch so far."""


class TrainerError(Exception):
    """A trainer raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class TrialRun:
    """The run of one trial by one worker.

    Attributes:
        sweep: the sweep of the trial.
        study: the sweep's study.
        claim: the worker's claim on the trial.
        must_leave: called with seconds; returns whether no further epoch of that length may begin.
        exclusive: whether no other worker of the job uses the device.
        stopped: whether the trainer was asked to stop.
        process_failure: the kind of failure after which this process must end; None if there was
            none.
    """

    sweep: Sweep
    study: Study
    claim: Claim
    must_leave: Callable[[float], bool]
    exclusive: bool = True
    stopped: bool = False
    process_failure: FailureKind | None = None

    def should_stop(self) -> bool:
        """Return whether the trainer must stop before the next epoch."""
        mark_phase(self.claim.attempt.training)
        late = self.must_leave(EPOCH_TIME_MARGIN * longest_epoch(self.claim.trial))
        self.stopped = self.stopped or late or not self.claim.is_held()
        return self.stopped


def longest_epoch(trial: TrialPaths) -> float:
    """Return the seconds of the trial's longest epoch so far; 0 if there is none."""
    return max((row.seconds for row in read_curve(trial)), default=0.0)


def run_trial(run: TrialRun) -> None:
    """Run one trial from its latest checkpoint to its end, or until it is released.

    Raises:
        OSError: the file system failed; if it is full, the trial was released.
        OutputError: the log cannot be written; if its disk is full, the trial was released.
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
    except (OSError, OutputError) as error:
        if is_disk_full(error):
            with contextlib.suppress(OSError):  # if that fails, the end of this process releases it
                run.claim.release()
        elif not run.claim.is_held():  # the missing file was removed with the trial
            _release_lost_claim(run, error)
            return
        raise


def _release_lost_claim(run: TrialRun, reason: Exception) -> None:
    """End work on a trial whose claim is lost, so that the supervisor sees no hanging worker."""
    print(reason, flush=True)
    with contextlib.suppress(FileNotFoundError):
        run.claim.release()


def _train(run: TrialRun) -> TrialResult | None:
    """Train to the trial's end; return None if it must be released before."""
    if run.study.trial(run.claim.trial.number).reported is not ReportedState.NOTHING:
        # The process that proposed it was stopped for so long that the proposal was discarded.
        return TrialResult(State.FAILED, None, None, 0, "the study had discarded the proposal")
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
    """Return the result of a trial whose trainer raised an exception; None if it is retried.

    An error of the operating system, or unavailable data, is not the trial's fault: the worker
    waits and retries it. A process with fragmented memory or a lost device is of no use for the
    next trial: after these two kinds of failure the worker exits.
    """
    run.claim.check()  # if the claim is lost or the trial removed, nothing is recorded here
    trainer = run.sweep.resolved.trainer
    kind = (
        "environment_unavailable"
        if isinstance(cause, OSError | OutputError)
        else trainer.classify_error(cause)
    )
    if kind != "out_of_memory":
        trace = traceback.format_exception(cause)
        atomic.write(run.claim.attempt.traceback, "".join(trace))
    if kind == "bug":
        epochs = len(read_curve(run.claim.trial))
        return TrialResult(
            State.FAILED, None, None, epochs, _error_message(cause), _error_location(cause)
        )
    steps = retry_plan_of(run.claim.trial).accumulation_steps
    failure = Failure(
        FailureKind(kind), _error_message(cause), _error_location(cause), steps, run.exclusive
    )
    record_failure(run.claim.attempt, failure)
    print(f"trial {run.claim.trial.name}: {failure.kind}: {failure.message}", flush=True)
    if failure.kind is FailureKind.ENVIRONMENT_UNAVAILABLE:
        _wait_before_retry(run, failure)
    else:
        run.process_failure = failure.kind
    return None


def _wait_before_retry(run: TrialRun, failure: Failure) -> None:
    """Wait before the trial is retried, longer each time; stop the sweep after too many failures.

    The worker keeps its claim meanwhile: any other worker would fail in the same way.
    """
    failures = len(consecutive_failures(run.claim.trial, FailureKind.ENVIRONMENT_UNAVAILABLE))
    if failures >= MAX_ENVIRONMENT_FAILURES:
        reason = f"environment unavailable, {failures} times in a row: {failure.message}"
        stop_sweep(run.sweep.paths, f"trial {run.claim.trial.name}: {reason}")
    until = time.monotonic() + RETRY_WAIT_SECONDS * 2 ** (failures - 1)
    while time.monotonic() < until and not run.must_leave(0.0):
        time.sleep(0.2)


@contextlib.contextmanager
def _as_trainer_errors() -> Iterator[None]:
    """Turn exceptions of a trainer into `TrainerError`, unlike those of writing the record.

    A full disk is no error of the trainer: it stops the sweep.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise
        raise TrainerError(error) from error


def _epochs(run: TrialRun, trial: TrialSpec, earlier: Sequence[AttemptPaths]) -> Iterator[Epoch]:
    trainer = run.sweep.resolved.trainer
    with _as_trainer_errors():
        epochs = trainer.fit(
            trainer.config.model_validate(trial.config),
            run.claim.attempt.checkpoints,
            continue_from=[attempt.checkpoints for attempt in earlier],
            threads=trial.threads,
            should_stop=run.should_stop,
            objective=run.sweep.resolved.experiment.objective,
            accumulation_steps=retry_plan_of(run.claim.trial).accumulation_steps,
        )
        mark_phase(run.claim.attempt.loaded)  # a generator begins only below
        yield from epochs


def _run_epochs(run: TrialRun, trial: TrialSpec) -> TrialResult | None:
    earlier = [a for a in trained_attempts(run.claim.trial) if a.last_checkpoint.exists()]
    if not earlier:
        if (ended := read_result(run.claim.trial)) is not None:
            return ended  # by an owner that had lost its claim; its checkpoints are trimmed
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
    reason = f"the trainer returned after {done} of {trial.epochs} epochs"
    return TrialResult(State.FAILED, None, None, done, reason, reason)


def _check_disk_space(run: TrialRun, checkpointed: Sequence[AttemptPaths]) -> None:
    """Check, before each epoch, that its checkpoint will fit: otherwise computing it is useless."""
    sizes = (attempt.last_checkpoint.stat().st_size for attempt in checkpointed)
    check_disk_space(run.claim.attempt.checkpoints, next(sizes, 0))


def _restore_record(run: TrialRun, restored: Epoch) -> None:
    """Write what the attempt before did not, from the row of its checkpoint.

    If every checkpoint is damaged, the row is that of the first epoch, computed again.
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
    """Report an epoch to the study; return the trial's final state if it ends here."""
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
    """Return the metric of an epoch, or the worst value if the training has diverged."""
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
    """Write the trial's figure; an error there does not fail the trial.

    Skip it if a worker has died at this trial: writing the figure may have been the cause.
    """
    if any(failure.kind is FailureKind.WORKER_DIED for failure in failures_of(run.claim.trial)):
        return
    trainer = run.sweep.resolved.trainer
    attempt = run.claim.attempt
    try:
        with _as_trainer_errors():
            config = trainer.config.model_validate(read_spec(run.claim.trial).config)
            trainer.write_figure(config, attempt.checkpoints, attempt.figure)
    except (TrainerError, OSError, OutputError) as error:
        print(f"trial {run.claim.trial.name}: the figure failed: {error}", flush=True)


def _settle(run: TrialRun, result: TrialResult) -> None:
    """Record the result: in the trial's folder, then in the study; then remove checkpoints."""
    write_result(run.claim.trial, result)
    result = read_result(run.claim.trial) or result  # the first result that was written counts
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
    same_failures = [r for r in failed if r.failure_key and r.failure_key == result.failure_key]
    if len(same_failures) >= MAX_SAME_FAILURES:
        count = len(same_failures)
        stop_sweep(run.sweep.paths, f"{count} trials failed with the same error: {result.reason}")
    elif len(failed) >= MAX_FAILURES:
        stop_sweep(run.sweep.paths, f"{len(failed)} trials failed, the last one: {result.reason}")


def _error_message(error: Exception) -> str:
    location = _error_location(error).partition(" in ")[2]
    return f"{type(error).__name__}: {' '.join(str(error).split())} (in {location})"


def _error_location(error: Exception) -> str:
    """Return the type and the line of an error: equal for failures of the same cause."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, {Path(frame.filename).name}:{frame.lineno}"


def _result_line(run: TrialRun, result: TrialResult) -> str:
    value = "" if result.value is None else f" {result.value:.4f}"
    line = f"trial {run.claim.trial.name}: {result.state}{value} after {result.epochs} epochs"
    return f"{line}: {result.reason}" if result.reason else line
