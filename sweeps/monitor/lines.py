"""A sweep in words: lines for a log, and the figures that other views show too."""

from collections.abc import Sequence

from sweeps.monitor.status import SweepStatus, TrialStatus
from sweeps.text import duration, number, printable


def totals_line(status: SweepStatus) -> str:
    """How many trials ended how, and the time they took, in one line."""
    states = [f"{n} {state}" for state, n in sorted(status.totals.states.items()) if n]
    parts = [f"{status.progress.ended} of {status.progress.planned} trials", *states]
    parts.append(f"{duration(status.totals.hours * 3600)} in epochs")
    if status.totals.hours_saved:
        parts.append(f"{duration(status.totals.hours_saved * 3600)} saved by pruning")
    return ", ".join(parts)


def trial_line(trial: TrialStatus, metric: str) -> str:
    """One trial in one line."""
    values = ", ".join(f"{name} {number(value)}" for name, value in trial.values.items())
    best = "" if trial.best is None else f", best {metric} {trial.best:.4f}"
    reason = f": {trial.reason}" if trial.reason else ""
    state = f"{trial.state}{reason}"
    return f"{trial.name} {state}, epoch {trial.epoch} of {trial.epochs}{best} ({values})"


def failure_lines(trials: Sequence[TrialStatus], most: int = 5) -> list[str]:
    """What went wrong, a line a trial and one for its traceback; of many only the latest."""
    wrong = [trial for trial in trials if trial.reason]
    lines = [f"{len(wrong) - most} more before these"] if len(wrong) > most else []
    for trial in wrong[-most:]:
        lines.append(printable(f"{trial.name} {trial.state}: {trial.reason}"))
        if trial.traceback is not None:
            lines.append(f"  traceback: {trial.traceback}")
    return lines
