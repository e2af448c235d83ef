"""What a person sees of a sweep: a table on a terminal, plain lines in a log."""

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sweeps.printable import printable
from sweeps.space import Scalar
from sweeps.status import SweepStatus, TrialStatus

_COLOURS = {
    "running": "cyan",
    "waiting": "yellow",
    "complete": "green",
    "pruned": "bright_black",
    "diverged": "magenta",
    "failed": "red",
}


def table(status: SweepStatus, rows: int | None = None) -> RenderableType:
    """The whole sweep as a table, with its totals below.

    Args:
        status: the sweep.
        rows: show no more trials than this: those under way, the best, the latest.
    """
    grid = Table(box=box.SIMPLE_HEAD, title=_plain(f"sweep {status.name}"), title_justify="left")
    names = list(status.trials[0].values) if status.trials else []
    for heading in ("trial", "state", "epoch", f"best {status.objective.metric}"):
        justify: Literal["left", "right"] = "right" if heading == "epoch" else "left"
        grid.add_column(_plain(heading), justify=justify, no_wrap=True)
    for name in names:
        grid.add_column(_plain(name.replace("_", " ")), justify="right")
    grid.add_column("per second", justify="right")
    grid.add_column("time left", justify="right")
    for trial in _selection(status.trials, rows):
        grid.add_row(*_cells(trial, names), style="bold" if trial.is_best else None)
    return Group(grid, _plain("\n".join([totals_line(status), *status.jobs])))


def totals_line(status: SweepStatus) -> str:
    """How many trials ended how, and the time they took, in one line."""
    states = [f"{n} {state}" for state, n in sorted(status.totals.states.items()) if n]
    parts = [f"{status.counted} of {status.asked} trials", *states]
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


def trouble_lines(trials: Sequence[TrialStatus], most: int = 5) -> list[str]:
    """What went wrong, a line a trial and one for its traceback; of many only the latest."""
    wrong = [trial for trial in trials if trial.reason]
    lines = [f"{len(wrong) - most} more before these"] if len(wrong) > most else []
    for trial in wrong[-most:]:
        lines.append(printable(f"{trial.name} {trial.state}: {trial.reason}"))
        if trial.traceback is not None:
            lines.append(f"  traceback: {trial.traceback}")
    return lines


def _plain(text: str) -> Text:
    """What is shown as it stands: no markup, no escape sequence."""
    return Text(printable(text))


def number(value: Scalar) -> str:
    """A value, a float to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A time in the two units that fit it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _cells(trial: TrialStatus, names: list[str]) -> list[str]:
    colour = _COLOURS.get(trial.state, "white")
    left = "" if trial.seconds_left is None else duration(trial.seconds_left)
    return [
        escape(printable(f"{'★ ' if trial.is_best else '  '}{trial.name}")),
        f"[{colour}]{escape(printable(trial.state))}[/]",
        f"{trial.epoch}/{trial.epochs}",
        "" if trial.best is None else f"{trial.best:.4f}",
        *(_value(trial, name) for name in names),
        "" if trial.pace is None else f"{trial.pace:.0f}",
        left,
    ]


def _value(trial: TrialStatus, name: str) -> str:
    return escape(printable(number(trial.values[name]))) if name in trial.values else ""


def _selection(trials: list[TrialStatus], rows: int | None) -> list[TrialStatus]:
    if rows is None or len(trials) <= rows:
        return trials
    urgent = [t for t in trials if t.state in {"running", "waiting"} or t.is_best]
    others = [t for t in reversed(trials) if t not in urgent]
    chosen = {t.name for t in [*urgent, *others][:rows]}
    return [t for t in trials if t.name in chosen]
