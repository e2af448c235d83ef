"""`sweeps report`: what a sweep shows, as one HTML page."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.sweep_arguments import Name, Runs, find_sweep
from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.report.content import Report, report_of
from sweeps.report.page import render_page
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.text import on_own_line, printable

Out = Annotated[
    Path | None,
    typer.Option("--out", help="file to write (default: report.html in the sweep's folder)"),
]


def report(
    name: Name = None, runs: Runs = None, out: Out = None, as_json: JsonOption = False
) -> None:
    """Write the report of a sweep: one HTML page that needs no network."""
    sweep = open_sweep(find_sweep(name, runs))
    made = report_of([sweep])
    file = write_page(made, out or sweep.paths.report)
    if as_json:
        print_json(report_content(made, sweep, file))
    else:
        print_file(file)


def write_page(report: Report, file: Path) -> Path:
    """Write a report as an HTML page and return its file.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file.absolute(), render_page(report))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{file}: cannot be written ({reason}); choose another file with --out"
        ) from error
    return file.absolute()


def print_file(file: Path) -> None:
    """Print where the report is, and what opens it in a browser."""
    print(printable(on_own_line("report", str(file))))
    print(printable(on_own_line("open it in a browser", file.as_uri())))


def report_content(report: Report, sweep: Sweep, file: Path) -> dict[str, Any]:
    """Return what a report says, for a script; docs/scripts.md has the keys."""
    part = report.parts[0]
    return {
        "report": file,
        "sweep": sweep.paths.name,
        "is_over": part.over,
        "objective": part.answer.metric,
        "best": part.answer.trial or None,
        "answer": list(part.answer.sentences),
        "findings": [
            {"kind": each.kind.value, "text": each.text, "numbers": each.numbers}
            for each in part.findings
        ],
        "test": {} if part.test is None else part.test.scores,
        "intervals": {} if part.test is None else part.test.intervals,
        "methods": part.methods,
    }
