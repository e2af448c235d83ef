"""Figures of a whole sweep: importances, parallel coordinates, and what the time was spent on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeps.analysis.importance import RELIABLE, Importances
from sweeps.analysis.time_spent import TimeSpent
from sweeps.config.experiment import Objective
from sweeps.config.space import Scalar, Space
from sweeps.report.curves import rounded
from sweeps.report.figure import COLOURS, Figure, axis
from sweeps.report.trials import ReportTrial

WIDE = 50
"""The ratio of the largest to the smallest value from which an axis is logarithmic."""


def importance_figure(importances: Importances | None, names: Mapping[str, str]) -> Figure | None:
    """Return how much each hyperparameter explains; None if that was not computed."""
    if importances is None or not any(importances.shares.values()):
        return None
    ranked = sorted(importances.shares.items(), key=lambda item: item[1])
    used = importances.used
    note = f"Share of the variance that each explains alone (fANOVA), from {used} complete trials."
    if used < RELIABLE:
        note += f" Below {RELIABLE} complete trials these shares are not reliable."
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [rounded(share) for _, share in ranked],
        "y": [names.get(path, path) for path, _ in ranked],
        "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{y} %{x:.2f}<extra></extra>",
    }
    layout = {
        "xaxis": axis("importance", range=[0, 1]),
        "yaxis": axis("", type="category"),
        "showlegend": False,
    }
    rows = [(names.get(path, path), share) for path, share in reversed(ranked)]
    columns = ("hyperparameter", "importance")
    return Figure("importances", "What mattered", note, [bars], layout, columns, rows)


def parallel_figure(
    trials: Sequence[ReportTrial], space: Space, names: Mapping[str, str], objective: Objective
) -> Figure | None:
    """Return the complete trials as lines through their values; None if there are too few."""
    shown = [trial for trial in trials if trial.is_complete]
    paths = [path for path in space.paths if all(path in trial.values for trial in shown)]
    if len(shown) < 2 or not paths:
        return None
    values = [rounded(trial.value) for trial in shown]
    dimensions = [
        _dimension(names[path], [t.values[path] for t in shown], is_log=path in space.log_paths)
        for path in paths
    ]
    lines = {
        "type": "parcoords",
        "line": {
            "color": values,
            "colorscale": "Cividis",
            "reversescale": not objective.maximize,
            "showscale": True,
            "colorbar": {"title": {"text": objective.metric}},
        },
        "dimensions": [*dimensions, {"label": objective.metric, "values": values}],
    }
    note = "One line is one complete trial. Drag along an axis to keep the trials of a range."
    rows = [(t.label, *(t.values[path] for path in paths), t.value) for t in shown]
    columns = ("trial", *(names[path] for path in paths), objective.metric)
    title = "Parallel coordinates"
    return Figure("parallel", title, note, [lines], {"margin": {"t": 70, "l": 90}}, columns, rows)


def time_figure(spent: Mapping[str, TimeSpent]) -> Figure:
    """Return how many hours went into trials of each kind, for each sweep.

    Args:
        spent: the time spent, by sweep.
    """
    kinds: dict[str, dict[str, float]] = {}
    for sweep, times in spent.items():
        for kind, seconds in _by_kind(times):
            if seconds > 0:
                kinds.setdefault(kind, {})[sweep] = seconds / 3600
    patterns = ("", "/", ".", "x", "-", "+", "|")
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": kind,
            "y": list(hours),
            "x": [rounded(value) for value in hours.values()],
            "marker": {
                "color": COLOURS[at % len(COLOURS)],
                "pattern": {"shape": patterns[at % len(patterns)]},
            },
            "hovertemplate": f"{kind}: %{{x:.3g}} h<extra></extra>",
        }
        for at, (kind, hours) in enumerate(kinds.items())
    ]
    layout = {
        "barmode": "stack",
        "xaxis": axis("hours of workers"),
        "yaxis": axis("", type="category"),
    }
    note = (
        "Hours of workers from their first trial to their last epoch. The wait in a scheduler's "
        "queue is not in them, nor an unfinished epoch of a worker that was lost."
    )
    rows = [(sweep, kind, rounded(h)) for kind, by in kinds.items() for sweep, h in by.items()]
    return Figure(
        "time",
        "What the time was spent on",
        note,
        bars,
        layout,
        ("sweep", "spent on", "hours"),
        rows,
    )


def _by_kind(times: TimeSpent) -> Iterator[tuple[str, float]]:
    for state, seconds in times.by_state.items():
        yield f"{state.value} trials", seconds
    yield "epochs trained again", times.repeated
    yield "outside epochs (start, figures, waiting)", times.of_workers - times.in_epochs


def _dimension(name: str, values: Sequence[Scalar], *, is_log: bool) -> dict[str, Any]:
    """Return an axis of parallel coordinates, with ticks of its own for names and logarithms."""
    if any(isinstance(value, str | bool) for value in values):
        kinds = sorted({str(value) for value in values})
        places = list(range(len(kinds)))
        positions = [kinds.index(str(value)) for value in values]
        return {"label": name, "values": positions, "tickvals": places, "ticktext": kinds}
    numbers = [float(value) for value in values]
    if not is_log and not _is_wide(numbers):
        return {"label": name, "values": numbers}
    exponents = [math.log10(number) for number in numbers]
    ticks = _decades(min(exponents), max(exponents))
    labels = [f"{10**tick:.0e}" if tick % 1 == 0 else f"{10**tick:.2g}" for tick in ticks]
    return {"label": name, "values": exponents, "tickvals": ticks, "ticktext": labels}


def _is_wide(numbers: Sequence[float]) -> bool:
    """Return whether a linear axis would press most of the numbers into one place."""
    return min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE


def _decades(low: float, high: float) -> list[float]:
    """Return the ends of a range of exponents, and the whole ones between them."""
    whole = [float(tick) for tick in range(math.ceil(low), math.floor(high) + 1)]
    return sorted({low, *whole, high})
