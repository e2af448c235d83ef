"""A sweep as a table that fits the terminal: a narrower one shows fewer columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from sweeps.monitor.lines import state_lines
from sweeps.monitor.selection import Selection, select_latest
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.monitor.time_left import roughly
from sweeps.streams import encodable
from sweeps.tables import Column, FittingTable
from sweeps.text import number, printable

_COLOURS = {
    "running": "cyan",
    "waiting": "bold",
    "stopped": "bold",
    "complete": "green",
    "diverged": "magenta",
    "failed": "red",
}
"""Colours that can be read on light and on dark terminals: no yellow, white or grey."""
_AROUND_ROWS = 6
"""Lines around the rows: title, rules and empty lines."""


@dataclass(frozen=True)
class SweepTable:
    """A sweep as a table, with how it stands and its jobs below.

    Attributes:
        status: the state of the sweep.
        height: the number of lines that it may take; None for as many as it needs. Then the running
            trials, the best and the latest are shown.
        selection: the trials to show instead of those.
        hint: the last line, in a view that a person can close; empty for none.
        totals: whether the totals stand below the table; a summary that follows has them.
    """

    status: SweepStatus
    height: int | None = None
    selection: Selection | None = None
    hint: str = ""
    totals: bool = True

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """Yield the table, then the number of trials that are not shown, then the lines."""
        below = [*state_lines(self.status, totals=self.totals), *filter(None, [self.hint])]
        selection = self.selection or self._fitting(console, options, below)
        if selection.shown:
            yield _table(self.status, selection.shown, watched=self.height is not None)
        else:
            yield _plain_title(self.status, options.encoding)
        for line in (selection.line(), *below):
            if line:
                yield Text(encodable(line, options.encoding))

    def _fitting(
        self, console: Console, options: ConsoleOptions, below: Sequence[str]
    ) -> Selection:
        """Return the trials that fit the height, above the lines that follow them."""
        trials = self.status.trials
        if self.height is None:
            return select_latest(trials, None)
        taken = sum(-(-len(line) // options.max_width) for line in below)
        heading = max([2, *(name.count("_") + 1 for name in _names(trials))])
        rows = max(5, self.height - _AROUND_ROWS - heading - taken)
        selection = select_latest(trials, rows)
        table = _table(self.status, selection.shown, watched=True)
        if table.grid(console, options) is None:
            return select_latest(trials, max(1, rows // len(table.selections[0])))
        return selection


def _plain_title(status: SweepStatus, encoding: str) -> Text:
    return Text(encodable(printable(_title(status)), encoding))


def _title(status: SweepStatus) -> str:
    if status.confirmation is None:
        return f"sweep {status.name}"
    return f"confirmation of {status.confirmation.search}: {status.name}"


class _Selection(NamedTuple):
    """Which columns a table has beside state, score and values."""

    pace: bool = True
    signature: bool = True
    left: bool = True
    values: bool = True


_SELECTIONS = (
    _Selection(),
    _Selection(pace=False),
    _Selection(pace=False, signature=False),
    _Selection(pace=False, signature=False, left=False),
)
_WATCHED = (*_SELECTIONS, _Selection(pace=False, signature=False, values=False))
"""Where lines are few, a narrow table says more than a line for each cell."""


def _table(status: SweepStatus, trials: Sequence[TrialStatus], *, watched: bool) -> FittingTable:
    selections = _WATCHED if watched else _SELECTIONS
    return FittingTable(
        _title(status),
        [list(_columns(status, trials, selection)) for selection in selections],
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
    for name in _names(trials) if selection.values else ():
        yield Column(name.replace("_", "\n"), [_value(trial, name) for trial in trials], "right")
    if selection.pace and any(trial.pace is not None for trial in trials):
        yield Column("speed\n(1/s)", [_pace(trial) for trial in trials], "right")
    if selection.left and any(trial.seconds_left is not None for trial in trials):
        yield Column("time\nleft", [_left(trial) for trial in trials], "right")


def _names(trials: Sequence[TrialStatus]) -> list[str]:
    return list(trials[0].values) if trials else []


def _name(trial: TrialStatus, selection: _Selection) -> str:
    name = trial.name if selection.signature else trial.name.partition("-")[0]
    return f"{'★ ' if trial.is_best else '  '}{name}"


def _state(trial: TrialStatus) -> Text:
    return Text(trial.state, _COLOURS.get(trial.state, ""))


def _best(trial: TrialStatus) -> str:
    return "" if trial.best is None else f"{trial.best:.4f}"


def _value(trial: TrialStatus, name: str) -> str:
    return number(trial.values[name]) if name in trial.values else ""


def _pace(trial: TrialStatus) -> str:
    return "" if trial.pace is None else f"{trial.pace:.0f}"


def _left(trial: TrialStatus) -> str:
    return "" if trial.seconds_left is None else roughly(trial.seconds_left)
