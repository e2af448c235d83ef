"""Curves by epoch: which metrics share a chart, and their values for every trial.

The page draws them for any set of trials that a person chooses, so it gets the numbers, not
figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeps.report.trials import ReportTrial
from sweeps.storage.trial_record import SPEED_SUFFIX

DIGITS = 6
"""Significant digits of a value in the page: more cannot be seen, and would make it larger."""


@dataclass(frozen=True)
class CurveChart:
    """A chart of metrics by epoch.

    Attributes:
        title: its heading.
        metrics: the metrics that share it.
    """

    title: str
    metrics: tuple[str, ...]


def curve_charts(
    named: Mapping[str, Sequence[str]], recorded: Iterable[str], first: Sequence[str]
) -> list[CurveChart]:
    """Return the charts of a report: those that the trainer names, then one for each other name.

    Metrics of equal names in different groups share a chart: `train/loss` and `val/loss`.

    Args:
        named: metrics by the title of their chart, as the trainer names them.
        recorded: every metric that a trial recorded.
        first: the metrics whose charts stand first.
    """
    known = dict.fromkeys(name for name in recorded if not name.endswith(SPEED_SUFFIX))
    charts = {title: [name for name in names if name in known] for title, names in named.items()}
    placed = {name for names in charts.values() for name in names}
    for name in known:
        if name not in placed:
            charts.setdefault(name.rpartition("/")[2].replace("_", " "), []).append(name)
    found = [CurveChart(title, tuple(names)) for title, names in charts.items() if names]
    return sorted(found, key=lambda chart: _rank(chart, first))


def curves_of(trials: Sequence[ReportTrial], charts: Sequence[CurveChart]) -> list[object]:
    """Return for each trial its epochs and the values of each metric that a chart shows."""
    metrics = [metric for chart in charts for metric in chart.metrics]
    return [
        {
            "epochs": [row.epoch for row in trial.rows],
            "metrics": {
                metric: [rounded(row.metrics.get(metric)) for row in trial.rows]
                for metric in metrics
                if any(metric in row.metrics for row in trial.rows)
            },
        }
        for trial in trials
    ]


def rounded(value: float | None) -> float | None:
    """Return a value with few digits; None if it is no finite number, which JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _rank(chart: CurveChart, first: Sequence[str]) -> int:
    """Return the position of a chart; the sort is stable, so the others keep their order."""
    positions = [first.index(metric) for metric in chart.metrics if metric in first]
    return min(positions, default=len(first))
