"""What is said when a sweep's jobs are gone: how it ended, and the command to type next."""

import tempfile
from collections.abc import Iterator

from sweeps.filesystem import atomic
from sweeps.filesystem.disk_space import (
    RESERVED_BYTES,
    check_disk_space,
    disk_full_message,
    is_disk_full,
)
from sweeps.monitor.lines import number, totals_line
from sweeps.monitor.status import SweepStatus
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import is_published


def summary(
    status: SweepStatus, sweep: Sweep, come_back: str, compare: str, promote: str, sync: str
) -> tuple[list[str], bool]:
    """The closing lines, and whether the sweep ended well.

    Args:
        status: the sweep as it stands.
        sweep: the same, for its places.
        come_back: the command that goes on with it.
        compare: the command that shows its runs.
        promote: the command that makes its best model the one in use.
        sync: the command that tells MLflow what it does not know.
    """
    best = next((trial for trial in status.trials if trial.is_best), None)
    lines = ["", totals_line(status)]
    if best is not None:
        values = ", ".join(f"{name} {number(value)}" for name, value in best.values.items())
        lines.append(
            f"best trial: {best.name}, {status.objective.metric} {best.best:.4f}, {values}"
        )
    if status.stopped is not None:
        lines.append(f"stopped: {status.stopped}")
        traces = [
            a.traceback for t in sweep.paths.trials() for a in t.attempts() if a.traceback.exists()
        ]
        lines += [f"traceback: {traces[-1]}"] if traces else []
        lines.append(f"go on with: {come_back}")
    elif not status.is_over:
        logs = sweep.paths.scheduler_logs.parent
        lines.append(f"no job runs any more; the logs are below {logs}")
        lines += _disk_full_line(sweep)
        lines.append(f"go on with: {come_back}")
    elif status.ended < status.planned:
        lines.append(_exhausted_line(sweep))
    lines += _unpublished_line(sweep, sync)
    if best is not None:
        lines.append(f"compare the runs with: {compare}")
        if status.is_over and sweep.plan.confirms is None:
            lines.append(f"put the best model to use with: {promote}")
    elif status.is_over:
        lines.append("no trial is complete: each was pruned, diverged or failed")
    return lines, status.is_over and best is not None


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


def _exhausted_line(sweep: Sweep) -> str:
    match (atomic.read_json(sweep.paths.exhausted) or {}).get("tried"):
        case "every point":
            return "every configuration of the space has been tried"
        case "all that was enqueued":
            return "all that the experiment enqueues has been tried"
    return (
        "nothing new was proposed: every proposal had been tried before, or the trainer refused it"
    )
