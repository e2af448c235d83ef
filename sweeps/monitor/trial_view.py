"""One trial for the terminal."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from sweeps.config.toml import flatten
from sweeps.monitor.trial_report import TrialReport
from sweeps.streams import encodable
from sweeps.tables import Column, FittingTable
from sweeps.text import count, duration, printable, shown_path

MOST_EPOCHS = 60
"""How many epochs are shown at most; of a longer training some are left out."""
MOST_PER_LINE = 10
_NO_BREAK = "\N{NO-BREAK SPACE}"
"""Between a name and its value, which stay in one line; `printable` leaves none in a text."""


@dataclass(frozen=True)
class TrialView:
    """One trial: result, configuration, epochs and attempts; its files are listed separately."""

    report: TrialReport

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """Yield the parts, each under its heading."""
        report, width = self.report, options.max_width
        for line in (
            *_headline(report),
            "searched",
            *(printable(f"  {path} = {value}") for path, value in report.values.items()),
            "configuration",
            *_sections(report.config, width),
            *_epochs(report, width),
        ):
            yield Text(encodable(line, options.encoding))
        yield _attempts(report)


def file_lines(report: TrialReport) -> Iterator[str]:
    """Yield a line for each of a trial's files, relative to the current folder if it is inside."""
    files = report.paths
    yield "files"
    yield f"  folder: {shown_path(files.folder)}"
    yield f"  config: {shown_path(files.config)}"
    if files.config_toml is not None:
        yield f"  config: {shown_path(files.config_toml)}"
    yield f"  checkpoint: {_path_or(files.checkpoint, 'none is kept')}"
    yield f"  figure: {_path_or(files.figure, 'none')}"
    for log in dict.fromkeys(log for attempt in report.attempts for log in attempt.logs):
        yield f"  log: {shown_path(log)}"
    for attempt in report.attempts:
        if attempt.traceback is not None:
            yield f"  traceback: {shown_path(attempt.traceback)}"


def _headline(report: TrialReport) -> Iterator[str]:
    yield f"trial {report.name} of sweep {report.sweep}: {report.state}"
    metric = printable(report.objective)
    result = "" if report.value is None else f"{metric} {report.value:.4f}"
    at = "" if report.best_epoch is None else f" at epoch {report.best_epoch}"
    of = f"{report.epochs} of {count(report.planned_epochs, 'epoch')} in {duration(report.seconds)}"
    yield f"{result}{at}; {of}" if result else of
    if report.reason:
        yield printable(f"reason: {report.reason}")


def _sections(config: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the lines of each table of a configuration, and those of values outside of tables."""
    for key, value in config.items():
        content = value if isinstance(value, Mapping) else {key: value}
        items = (_item(path, inner) for path, inner in flatten(content).items())
        heading = f"{printable(key)}: " if isinstance(value, Mapping) else ""
        wrapped = textwrap.wrap(
            heading + ", ".join(items),
            max(width, 20),
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from (line.replace(_NO_BREAK, " ") for line in wrapped)


def _item(path: str, value: object) -> str:
    return printable(f"{path} {value}").replace("\n", " ").replace(" ", _NO_BREAK)


def _epochs(report: TrialReport, width: int) -> Iterator[str]:
    """Yield the objective by epoch, as many epochs in a line as fit."""
    if not report.curve:
        return
    epochs = shown_epochs(report)
    left_out = len(report.curve) - len(epochs)
    note = f", {count(left_out, 'epoch')} left out" if left_out else ""
    yield printable(f"{report.objective} by epoch (★ the best{note})")
    cells = [
        f"{epoch}: {report.curve[epoch]:.4f} {'★' if epoch == report.best_epoch else ' '}"
        for epoch in epochs
    ]
    widest = max(map(len, cells))
    per_line = min(MOST_PER_LINE, max(1, (width - 1) // (widest + 1)))
    for at in range(0, len(cells), per_line):
        line = cells[at : at + per_line]
        yield f"  {' '.join(cell.rjust(widest) for cell in line)}".rstrip()


def shown_epochs(report: TrialReport) -> list[int]:
    """Return the epochs to show: all, or equally distant ones with the best and the last."""
    epochs = sorted(report.curve)
    step = -(-len(epochs) // MOST_EPOCHS)
    return sorted({*epochs[::step], epochs[-1]} | ({report.best_epoch or 0} & set(epochs)))


def _attempts(report: TrialReport) -> FittingTable:
    attempts = report.attempts
    columns = [
        Column("attempt", [str(attempt.number) for attempt in attempts], "right"),
        Column("host", [attempt.host for attempt in attempts]),
        Column("job", [_job(attempt.job, attempt.slurm_job) for attempt in attempts]),
        Column("ended", [attempt.outcome for attempt in attempts]),
    ]
    return FittingTable("", [columns])


def _job(token: str, slurm_job: str) -> str:
    return f"{token} (SLURM {slurm_job})" if slurm_job else token


def _path_or(path: Path | None, otherwise: str) -> str:
    return otherwise if path is None else shown_path(path)
