"""A sweep as a table that fits the terminal: a narrower one shows fewer columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sweeps.monitor.lines import totals_line
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
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

_UNBOUNDED = 10_000
"""A width in characters that no terminal has."""


@dataclass(frozen=True)
class SweepTable:
    """A sweep as a table, with its totals and its jobs below.

    Attributes:
        status: the state of the sweep.
        rows: the largest number of trials to show: running ones, the best, then the latest;
            None for all.
    """

    status: SweepStatus
    rows: int | None = None

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """Yield the layout with the most columns that fits; the smallest one if none does."""
        trials = _selection(self.status.trials, self.rows)
        grids = (_grid(self.status, trials, layout) for layout in _LAYOUTS)
        unbounded = options.update(max_width=_UNBOUNDED)
        for grid in grids:
            if Measurement.get(console, unbounded, grid).maximum <= options.max_width:
                break
        yield grid
        yield _plain("\n".join([totals_line(self.status), *self.status.jobs]))


class _Layout(NamedTuple):
    """Which columns a table has beside state, score and values, and the gap between them."""

    gap: int
    pace: bool = True
    signature: bool = True
    left: bool = True


_LAYOUTS = (
    _Layout(gap=3),
    _Layout(gap=1),
    _Layout(gap=1, pace=False),
    _Layout(gap=1, pace=False, signature=False),
    _Layout(gap=1, pace=False, signature=False, left=False),
)


class _Column(NamedTuple):
    heading: str
    cells: list[Text]
    justify: Literal["left", "right"] = "right"


def _grid(status: SweepStatus, trials: list[TrialStatus], layout: _Layout) -> Table:
    grid = Table(
        box=box.SIMPLE_HEAD,
        title=_plain(f"sweep {status.name}"),
        title_justify="left",
        padding=(0, layout.gap, 0, 0),
        pad_edge=False,
    )
    columns = list(_columns(status, trials, layout))
    for column in columns:
        grid.add_column(_plain(column.heading), justify=column.justify, no_wrap=True)
    for trial, cells in zip(trials, zip(*(c.cells for c in columns), strict=True), strict=True):
        grid.add_row(*cells, style="bold" if trial.is_best else None)
    return grid


def _columns(status: SweepStatus, trials: list[TrialStatus], layout: _Layout) -> Iterable[_Column]:
    """Yield the columns; a heading has one word per line, because it is wider than its cells."""
    yield _Column("trial", [_name(trial, layout) for trial in trials], "left")
    yield _Column("state", [_state(trial) for trial in trials], "left")
    yield _Column("epoch", [Text(f"{trial.epoch}/{trial.epochs}") for trial in trials])
    yield _Column(f"best\n{status.objective.metric}", [_best(trial) for trial in trials], "left")
    for name in status.trials[0].values if status.trials else []:
        yield _Column(name.replace("_", "\n"), [_value(trial, name) for trial in trials])
    if layout.pace and any(trial.pace is not None for trial in trials):
        yield _Column("speed\n(1/s)", [_pace(trial) for trial in trials])
    if layout.left and any(trial.seconds_left is not None for trial in trials):
        yield _Column("time\nleft", [_left(trial) for trial in trials])


def _name(trial: TrialStatus, layout: _Layout) -> Text:
    name = trial.name if layout.signature else trial.name.partition("-")[0]
    return _plain(f"{'★ ' if trial.is_best else '  '}{name}")


def _state(trial: TrialStatus) -> Text:
    return Text(printable(trial.state), _COLOURS.get(trial.state, "white"))


def _best(trial: TrialStatus) -> Text:
    return Text("" if trial.best is None else f"{trial.best:.4f}")


def _value(trial: TrialStatus, name: str) -> Text:
    return _plain(number(trial.values[name])) if name in trial.values else Text()


def _pace(trial: TrialStatus) -> Text:
    return Text("" if trial.pace is None else f"{trial.pace:.0f}")


def _left(trial: TrialStatus) -> Text:
    return Text("" if trial.seconds_left is None else _roughly(trial.seconds_left))


def _roughly(seconds: float) -> str:
    """Return an estimated time, rounded: `40 s`, `12 min`, `1.5 h`, `30 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"


def _plain(text: str) -> Text:
    """Return text without markup and without escape sequences."""
    return Text(printable(text))


def _selection(trials: list[TrialStatus], rows: int | None) -> list[TrialStatus]:
    if rows is None or len(trials) <= rows:
        return trials
    urgent = [t for t in trials if t.state in {"running", "waiting", "stopped"} or t.is_best]
    others = [t for t in reversed(trials) if t not in urgent]
    selected = {t.name for t in [*urgent, *others][:rows]}
    return [t for t in trials if t.name in selected]
