"""The summary that is printed when a sweep's jobs have ended, with the commands to type next."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from sweeps.filesystem.disk_space import (
    RESERVED_BYTES,
    check_disk_space,
    disk_full_message,
    is_disk_full,
)
from sweeps.monitor.last_error import last_error_lines
from sweeps.monitor.lines import exhausted_lines, finding_lines, renamed_lines, totals_line
from sweeps.monitor.sweep_status import SweepStatus
from sweeps.storage.progress import exhausted_reason
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import is_published
from sweeps.text import number, on_own_line


@dataclass(frozen=True)
class NextCommands:
    """The commands that a person can type next.

    Attributes:
        resume: resumes the sweep.
        report: the file of its report, as a command or a path; None if there is none.
        compare: shows its runs in MLflow.
        promote: promotes its best model; None if there is none to promote.
        models: shows the registered models; None if the sweep's best model is not among them.
        sync: sends to MLflow what is missing there.
    """

    resume: str
    report: str | None
    compare: str
    promote: str | None
    models: str | None
    sync: str


@dataclass(frozen=True)
class Summary:
    """How a sweep ended.

    Attributes:
        lines: the text of the summary.
        ended_well: whether it is over and has a best trial.
    """

    lines: list[str]
    ended_well: bool


def summarize(status: SweepStatus, sweep: Sweep, commands: NextCommands) -> Summary:
    """Return how the sweep ended, and the commands to type next."""
    best = next((trial for trial in status.trials if trial.is_best), None)
    lines = ["", totals_line(status)]
    if best is not None:
        values = ", ".join(f"{name} {number(value)}" for name, value in best.values.items())
        lines.append(
            f"best trial: {best.name}, {status.objective.metric} {best.best:.4f}, {values}"
        )
    lines += finding_lines(status)
    lines += [*_why_it_ended(status, sweep, commands), *_unpublished_line(sweep, commands.sync)]
    lines += renamed_lines(status)
    if status.confirmation is not None:
        lines += status.confirmation.lines()
        if status.is_over:
            lines.append(on_own_line("continue the promotion with", commands.resume))
        return Summary(lines, status.is_over)
    if best is not None:
        if status.is_over and commands.report is not None:
            lines.append(on_own_line("read the report in a browser", commands.report))
        lines.append(on_own_line("compare the runs with", commands.compare))
        if status.is_over and commands.models is not None:
            lines.append(on_own_line("the best model is promoted; see it with", commands.models))
        elif status.is_over and commands.promote is not None:
            lines.append(on_own_line("promote the best model with", commands.promote))
    elif status.is_over:
        lines.append("no trial is complete: all were pruned, diverged or failed")
    return Summary(lines, status.is_over and best is not None)


def _why_it_ended(status: SweepStatus, sweep: Sweep, commands: NextCommands) -> Iterator[str]:
    """Yield why no job is running; nothing if every planned trial has ended."""
    if status.stopped is not None:
        yield f"stopped: {status.stopped}"
        tracebacks = [
            a.traceback for t in sweep.paths.trials() for a in t.attempts() if a.traceback.exists()
        ]
        if tracebacks:
            yield on_own_line("traceback", str(tracebacks[-1]))
        yield on_own_line("resume with", commands.resume)
    elif not status.is_over:
        logs = str(sweep.paths.scheduler_logs.parent)
        yield on_own_line("no job is running, but trials are left; logs", logs)
        yield from last_error_lines(sweep.paths)
        yield from _disk_full_line(sweep)
        yield on_own_line("resume with", commands.resume)
    else:
        yield from exhausted_lines(status.progress, exhausted_reason(sweep.paths))


def _disk_full_line(sweep: Sweep) -> Iterator[str]:
    """Yield a message if the disk or the quota is full: the worker could not record it.

    A quota shows only when something is written.
    """
    try:
        check_disk_space(sweep.paths.folder, 0)
        with tempfile.TemporaryFile(dir=sweep.paths.folder) as file:
            file.write(bytes(RESERVED_BYTES // 64))
    except OSError as error:
        yield disk_full_message(error, sweep.paths.folder) if is_disk_full(error) else str(error)


def _unpublished_line(sweep: Sweep, sync: str) -> Iterator[str]:
    trials = sweep.paths.trials()
    if missing := sum(not is_published(trial) for trial in trials):
        what = f"{missing} of {len(trials)} trials are not completely in MLflow; send with"
        yield on_own_line(what, sync)
