"""A sweep as text: lines for a log; other views show some of them too."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from sweeps.analysis.findings import most_important
from sweeps.monitor.best_so_far import best_line
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.monitor.time_left import time_left_text
from sweeps.storage.progress import Exhausted, Progress
from sweeps.tables import output_console
from sweeps.text import count, duration, number, on_own_line, printable

_MOST_NAMED = 4
"""How many trials in one phase are named; of more, the number is shown."""
_EXHAUSTED = {
    Exhausted.EVERY_POINT: "no more trials: every configuration of the space has been tried",
    Exhausted.ENQUEUED: "no more trials: every trial that the experiment enqueues has been tried",
    Exhausted.NOTHING_NEW: "no more trials: every new proposal had been tried before, or was "
    "refused by the trainer",
}


def exhausted_lines(progress: Progress, reason: Exhausted | None) -> list[str]:
    """Return a line with why a sweep is over that has fewer trials than planned.

    Args:
        progress: the numbers of trials of a sweep that is over.
        reason: why there is nothing more to try; None if it is not known.

    Returns:
        The line; nothing if every planned trial has ended.
    """
    return [_EXHAUSTED[reason or Exhausted.NOTHING_NEW]] if progress.left else []


def progress_text(progress: Progress) -> str:
    """Return how many trials have ended: `2 of 3 trials`, or `12 trials (3 asked for)`."""
    if progress.ended > progress.planned:
        return f"{progress.ended} trials ({progress.planned} asked for)"
    return f"{progress.ended} of {count(progress.planned, 'trial')}"


def totals_line(status: SweepStatus) -> str:
    """Return one line with the number of trials in each state and the time they took."""
    counted = Counter(trial.state for trial in status.trials)
    states = [f"{number} {state}" for state, number in sorted(counted.items())]
    items = [progress_text(status.progress), *states]
    if any(trial.epoch for trial in status.trials):
        items.append(f"{duration(status.totals.hours * 3600)} in epochs")
    if status.totals.hours_saved:
        items.append(f"{duration(status.totals.hours_saved * 3600)} saved by pruning")
    return ", ".join(items)


def phase_lines(status: SweepStatus) -> list[str]:
    """Return what is waited for, in at most one line: `first epoch: 0003; loading data: 0004`."""
    if status.phase:
        return [status.phase]
    numbers: dict[str, list[str]] = {}
    for trial in status.trials:
        if trial.phase:
            numbers.setdefault(trial.phase, []).append(trial.name.partition("-")[0])
    parts = [
        f"{phase}: {', '.join(found) if len(found) <= _MOST_NAMED else count(len(found), 'trial')}"
        for phase, found in numbers.items()
    ]
    return ["; ".join(parts)] if parts else []


def state_lines(status: SweepStatus, *, totals: bool = True) -> list[str]:
    """Return how a sweep stands: totals, what is waited for, time left, best so far, its jobs.

    Of a confirmation, which trials are trained again and with which seeds, in place of the best.

    Args:
        status: the state of the sweep.
        totals: whether the totals are among the lines; at the end the summary has them.
    """
    left = [] if status.time_left is None else [time_left_text(status.time_left)]
    best = best_line(status.best_so_far, status.objective.metric)
    confirmed = [] if status.confirmation is None else status.confirmation.lines()
    first = [totals_line(status)] if totals else []
    lines = [*first, *confirmed, *phase_lines(status), *left, *best, *status.jobs]
    return [printable(line) for line in lines]


def renamed_lines(status: SweepStatus) -> list[str]:
    """Return a line with the metrics that have another name in MLflow; none if there are none."""
    return [f"renamed in MLflow: {printable(status.renamed)}"] if status.renamed else []


def finding_lines(status: SweepStatus) -> list[str]:
    """Return what the sweep teaches, broken between words on a terminal; nothing before its end."""
    wrapper = textwrap.TextWrapper(
        width=output_console().width,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,  # so that a trial's name stays in one piece
    )
    found = [printable(finding.text) for finding in most_important(status.findings)]
    lines = [line for text in found for line in wrapper.wrap(f"- {text}")]
    return ["findings:", *lines] if lines else []


def trial_line(trial: TrialStatus, metric: str) -> str:
    """Return one line about one trial."""
    values = ", ".join(f"{name} {number(value)}" for name, value in trial.values.items())
    best = "" if trial.best is None else f", best {metric} {trial.best:.4f}"
    reason = f": {trial.reason}" if trial.reason else ""
    state = f"{trial.state}{reason}"
    return f"{trial.name} {state}, epoch {trial.epoch} of {trial.epochs}{best} ({values})"


def failure_lines(trials: Sequence[TrialStatus], most: int = 5) -> list[str]:
    """Return what went wrong: a line for each trial, and one for its traceback.

    Args:
        trials: the trials of a sweep.
        most: how many to list; of more, only the latest.
    """
    failed = [trial for trial in trials if trial.reason]
    lines = [f"{len(failed) - most} earlier ones are not shown"] if len(failed) > most else []
    for trial in failed[-most:]:
        lines.append(printable(f"{trial.name} {trial.state}: {trial.reason}"))
        if trial.traceback is not None:
            lines.append(on_own_line("traceback", str(trial.traceback)))
    return lines
