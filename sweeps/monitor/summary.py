"""What is said when a sweep's jobs are gone: how it ended, and the command to type next."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from sweeps.filesystem.disk_space import (
    RESERVED_BYTES,
    check_disk_space,
    disk_full_message,
    is_disk_full,
)
from sweeps.monitor.lines import totals_line
from sweeps.monitor.status import SweepStatus
from sweeps.storage.progress import Exhausted, exhausted_reason
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import is_published
from sweeps.text import number


@dataclass(frozen=True)
class NextCommands:
    """What a person may type next, each command as it stands.

    Attributes:
        resume: goes on with the sweep.
        compare: shows its runs.
        promote: puts its best model to use.
        sync: sends MLflow what it lacks.
    """

    resume: str
    compare: str
    promote: str
    sync: str


@dataclass(frozen=True)
class Summary:
    """How a sweep ended.

    Attributes:
        lines: for a person.
        ended_well: whether it is over and has a best trial.
    """

    lines: list[str]
    ended_well: bool


def summarize(status: SweepStatus, sweep: Sweep, commands: NextCommands) -> Summary:
    """How the sweep ended, and what to type next."""
    best = next((trial for trial in status.trials if trial.is_best), None)
    lines = ["", totals_line(status)]
    if best is not None:
        values = ", ".join(f"{name} {number(value)}" for name, value in best.values.items())
        lines.append(
            f"best trial: {best.name}, {status.objective.metric} {best.best:.4f}, {values}"
        )
    lines += [*_why_it_ended(status, sweep, commands), *_unpublished_line(sweep, commands.sync)]
    if best is not None:
        lines.append(f"compare the runs with: {commands.compare}")
        if status.is_over and sweep.plan.confirms is None:
            lines.append(f"put the best model to use with: {commands.promote}")
    elif status.is_over:
        lines.append("no trial is complete: each was pruned, diverged or failed")
    return Summary(lines, status.is_over and best is not None)


def _why_it_ended(status: SweepStatus, sweep: Sweep, commands: NextCommands) -> Iterator[str]:
    """Why no job runs any more; nothing where every trial asked for has ended."""
    if status.stopped is not None:
        yield f"stopped: {status.stopped}"
        traces = [
            a.traceback for t in sweep.paths.trials() for a in t.attempts() if a.traceback.exists()
        ]
        if traces:
            yield f"traceback: {traces[-1]}"
        yield f"go on with: {commands.resume}"
    elif not status.is_over:
        yield f"no job runs any more; the logs are below {sweep.paths.scheduler_logs.parent}"
        yield from _disk_full_line(sweep)
        yield f"go on with: {commands.resume}"
    elif status.progress.left:
        yield _EXHAUSTED[exhausted_reason(sweep.paths) or Exhausted.NOTHING_NEW]


def _disk_full_line(sweep: Sweep) -> Iterator[str]:
    """What a worker that met a full disk, or a quota, had no room to write down."""
    try:
        check_disk_space(sweep.paths.folder, 0)
        with tempfile.TemporaryFile(dir=sweep.paths.folder) as file:
            file.write(bytes(RESERVED_BYTES // 64))
    except OSError as error:
        yield disk_full_message(error, sweep.paths.folder) if is_disk_full(error) else str(error)


def _unpublished_line(sweep: Sweep, sync: str) -> Iterator[str]:
    trials = sweep.paths.trials()
    if missing := sum(not is_published(trial) for trial in trials):
        yield f"MLflow lacks {missing} of {len(trials)} trials, or their ends; send them: {sync}"


_EXHAUSTED = {
    Exhausted.EVERY_POINT: "every configuration of the space has been tried",
    Exhausted.ENQUEUED: "all that the experiment enqueues has been tried",
    Exhausted.NOTHING_NEW: "nothing new was proposed: every proposal had been tried before, or the "
    "trainer refused it",
}
