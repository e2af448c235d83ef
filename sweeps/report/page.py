"""The report as one HTML file: everything that it needs is in it, the plotting library too."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sweeps.filesystem import atomic
from sweeps.report.content import Report, report_of
from sweeps.report.curves import curves_of, rounded
from sweeps.report.figure import COLOURS, SYMBOLS
from sweeps.report.trials import ReportTrial
from sweeps.storage.sweep import Sweep
from sweeps.text import duration


def render_report(sweeps: Sequence[Sweep]) -> str:
    """Return the report of one sweep, or the comparison of several, as an HTML page.

    Raises:
        InputError: the sweeps have different objectives.
    """
    return render_page(report_of(sweeps))


def write_report(sweep: Sweep) -> Path:
    """Write the report of a sweep into its folder; return the file."""
    atomic.write(sweep.paths.report, render_report([sweep]))
    return sweep.paths.report


def render_page(report: Report) -> str:
    """Return a report as an HTML page."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 (five megabytes to read)

    environment = Environment(
        loader=PackageLoader("sweeps.report", "page"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files = importlib.resources.files("sweeps.report") / "page"
    return environment.get_template("page.html").render(
        report=report,
        data=embedded_json(_data(report)),
        plotly=get_plotlyjs(),
        style=(files / "page.css").read_text(encoding="utf-8"),
        script=(files / "page.js").read_text(encoding="utf-8"),
    )


def embedded_json(content: Any) -> str:
    """Return a value as JSON that cannot end the element of the page that it stands in."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(report: Report) -> Mapping[str, Any]:
    """Return what the page's script works with."""
    return {
        "metric": report.metric,
        "maximize": report.maximize,
        "several": len(report.parts) > 1,
        "searched": list(report.searched.values()),
        "selected": report.selected,
        "colours": COLOURS,
        "symbols": SYMBOLS,
        "trials": [_trial(trial, report.searched) for trial in report.trials],
        "charts": [{"title": chart.title, "metrics": chart.metrics} for chart in report.charts],
        "curves": curves_of(report.trials, report.charts),
        "figures": {
            figure.key: {
                "traces": figure.traces,
                "layout": figure.layout,
                "columns": figure.columns,
                "rows": figure.rows,
            }
            for figure in report.figures
        },
    }


def _trial(trial: ReportTrial, searched: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "label": trial.label,
        "name": trial.name,
        "sweep": trial.sweep,
        "group": trial.group,
        "state": trial.state.value,
        "value": trial.value,
        "best_epoch": trial.best_epoch,
        "epochs": len(trial.rows),
        "seconds": rounded(trial.seconds),
        "duration": duration(trial.seconds),
        "values": {name: trial.values.get(path) for path, name in searched.items()},
    }
