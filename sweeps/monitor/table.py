"""A sweep as a table that fits the terminal: a narrower one shows fewer columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from sweeps.monitor.lines import totals_line
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.tables import Column, FittingTable
from sweeps.text import number, printable

_COLOURS = {
    "running": "cyan",
    "waiting": "yellow",
    "stopped": "yellow",
    "complete": "green",
    "pruned": "bright_black",
    "diverged": "magenta",
    "failed": "red",
}


@dataclass(frozen=True)
class SweepTable:
    """A sweep as a table, with its totals and its jobs below.

    Attributes:
        status: the state of the sweep.
        rows: the largest number of lines for trials: running ones, the best, then the latest;
            None for all.
    """

    status: SweepStatus
    rows: int | None = None

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """Yield the table, then the totals and the jobs."""
        table = _table(self.status, self.rows)
        if self.rows is not None and table.grid(console, options) is None:
            table = _table(self.status, max(1, self.rows // len(table.selections[0])))
        yield table
        yield Text(printable("\n".join([totals_line(self.status), *self.status.jobs])))


class _Selection(NamedTuple):
    """Which columns a table has beside state, score and values."""

    pace: bool = True
    signature: bool = True
    left: bool = True


_SELECTIONS = (
    _Selection(),
    _Selection(pace=False),
    _Selection(pace=False, signature=False),
    _Selection(pace=False, signature=False, left=False),
)


def _table(status: SweepStatus, rows: int | None) -> FittingTable:
    trials = _select_trials(status.trials, rows)
    return FittingTable(
        f"sweep {status.name}",
        [list(_columns(status, trials, selection)) for selection in _SELECTIONS],
        emphasized=frozenset(at for at, trial in enumerate(trials) if trial.is_best),
    )


def _columns(
    status: SweepStatus, trials: Sequence[TrialStatus], selection: _Selection
) -> Iterable[Column]:
    """Yield the columns; a heading has one word per line, because it is wider than its cells."""
    yield Column("trial", [_name(trial, selection) for trial in trials])
    yield Column("state", [_state(trial) for trial in trials])
    yield Column("epoch", [f"{trial.epoch}/{trial.epochs}" for trial in trials], "right")
    yield Column(f"best\n{status.objective.metric}", [_best(trial) for trial in trials])
    for name in status.trials[0].values if status.trials else []:
        yield Column(name.replace("_", "\n"), [_value(trial, name) for trial in trials], "right")
    if selection.pace and any(trial.pace is not None for trial in trials):
        yield Column("speed\n(1/s)", [_pace(trial) for trial in trials], "right")
    if selection.left and any(trial.seconds_left is not None for trial in trials):
        yield Column("time\nleft", [_left(trial) for trial in trials], "right")


def _name(trial: TrialStatus, selection: _Selection) -> str:
    name = trial.name if selection.signature else trial.name.partition("-")[0]
    return f"{'★ ' if trial.is_best else '  '}{name}"


def _state(trial: TrialStatus) -> Text:
    return Text(trial.state, _COLOURS.get(trial.state, "white"))


def _best(trial: TrialStatus) -> str:
    return "" if trial.best is None else f"{trial.best:.4f}"


def _value(trial: TrialStatus, name: str) -> str:
    return number(trial.values[name]) if name in trial.values else ""


def _pace(trial: TrialStatus) -> str:
    return "" if trial.pace is None else f"{trial.pace:.0f}"


def _left(trial: TrialStatus) -> str:
    return "" if trial.seconds_left is None else _roughly(trial.seconds_left)


def _roughly(seconds: float) -> str:
    """Return an estimated time, rounded: `40 s`, `12 min`, `1.5 h`, `30 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"


def _select_trials(trials: list[TrialStatus], rows: int | None) -> list[TrialStatus]:
    if rows is None or len(trials) <= rows:
        return trials
    urgent = [t for t in trials if t.state in {"running", "waiting", "stopped"} or t.is_best]
    others = [t for t in reversed(trials) if t not in urgent]
    selected = {t.name for t in [*urgent, *others][:rows]}
    return [t for t in trials if t.name in selected]
