"""Figures with a point for each trial: the search's history, each hyperparameter, and costs."""

from collections.abc import Iterator, Sequence
from typing import Any

from sweeps.config.experiment import Objective
from sweeps.config.space import Choices, Scalar, Space
from sweeps.report.curves import rounded
from sweeps.report.figure import Cell, Figure, axis, colour_and_symbol
from sweeps.report.trials import ReportTrial

_READING = (
    "Filled: complete trials. Open: trials that ended early or still run, at their best epoch."
)


def history(trials: Sequence[ReportTrial], objective: Objective) -> Figure:
    """Return each trial's value in the order in which the trials were proposed."""
    shown = [trial for trial in trials if trial.value is not None]
    order = {trial.label: at for at, trial in enumerate(trials)}
    traces = _points(shown, [order[trial.label] for trial in shown])
    several = len({trial.sweep for trial in trials}) > 1
    if not several and (best := _best_so_far(shown, objective)):
        line = {"type": "scatter", "mode": "lines", "name": "best complete so far"}
        steps = {"shape": "hv", "color": "#7f7f7f", "dash": "dot"}
        traces.append(
            line
            | {"x": [order[t.label] for t, _ in best], "line": steps}
            | {"y": [rounded(value) for _, value in best]}
        )
    layout = {"xaxis": axis("trial, in the order of proposal"), "yaxis": axis(objective.metric)}
    rows = [(t.label, t.state.value, t.value) for t in shown]
    columns = ("trial", "state", objective.metric)
    return Figure("history", "The search, trial by trial", _READING, traces, layout, columns, rows)


def slices(
    trials: Sequence[ReportTrial], space: Space, names: dict[str, str], objective: Objective
) -> Iterator[Figure]:
    """Yield a figure for each searched path that has a name: the objective against its value."""
    for path, name in names.items():
        shown = [trial for trial in trials if trial.value is not None and path in trial.values]
        if not shown:
            continue
        is_log = path in space.log_paths
        scale = _scale(space, path, [trial.values[path] for trial in shown])
        traces = _points(shown, [_position(trial.values[path], scale) for trial in shown])
        layout = {"xaxis": axis(name, **scale), "yaxis": axis(objective.metric)}
        title = f"Sensitivity to {name}" if is_log else f"By {name}"
        rows = [(t.label, t.state.value, t.values[path], t.value) for t in shown]
        columns = ("trial", "state", name, objective.metric)
        yield Figure(f"slice-{name}", title, _READING, traces, layout, columns, rows)


def cost(trials: Sequence[ReportTrial], objective: Objective) -> Figure:
    """Return each trial's value against the minutes that its epochs took."""
    shown = [trial for trial in trials if trial.value is not None]
    traces = _points(shown, [rounded(trial.seconds / 60) for trial in shown])
    layout = {"xaxis": axis("minutes in epochs"), "yaxis": axis(objective.metric)}
    rows = [(t.label, t.state.value, rounded(t.seconds / 60), t.value) for t in shown]
    columns = ("trial", "state", "minutes", objective.metric)
    return Figure("cost", "Value against time", _READING, traces, layout, columns, rows)


def hover_text(trial: ReportTrial) -> str:
    """Return what the page shows of a trial under the pointer."""
    settings = [f"{path.rpartition('.')[2]} {_short(v)}" for path, v in trial.values.items()]
    return "<br>".join([f"trial {trial.label} ({trial.state.value})", *settings])


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _points(trials: Sequence[ReportTrial], positions: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return a trace of points for each group; those of trials that are not complete are open."""
    groups = dict.fromkeys(trial.group for trial in trials)
    pairs = list(zip(trials, positions, strict=True))
    return [
        _points_of_group(group, [pair for pair in pairs if pair[0].group == group], at)
        for at, group in enumerate(groups)
    ]


def _points_of_group(
    group: str, pairs: Sequence[tuple[ReportTrial, Cell]], at: int
) -> dict[str, Any]:
    colour, symbol = colour_and_symbol(at)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": group or "trials",
        "x": [position for _, position in pairs],
        "y": [rounded(trial.value) for trial, _ in pairs],
        "text": [hover_text(trial) for trial, _ in pairs],
        "hovertemplate": "%{text}<br>%{y}<extra></extra>",
        "marker": {
            "color": colour,
            "symbol": [symbol if t.is_complete else f"{symbol}-open" for t, _ in pairs],
            "size": 9,
        },
    }


def _best_so_far(
    trials: Sequence[ReportTrial], objective: Objective
) -> list[tuple[ReportTrial, float]]:
    best: list[tuple[ReportTrial, float]] = []
    for trial in trials:
        if not trial.is_complete or trial.value is None:
            continue
        if not best or objective.sign * (trial.value - best[-1][1]) > 0:
            best.append((trial, trial.value))
    return [*best, (trials[-1], best[-1][1])] if best else []


def _scale(space: Space, path: str, values: Sequence[Scalar]) -> dict[str, Any]:
    """Return the axis of a hyperparameter: logarithmic, linear, or one place for each choice."""
    if path in space.log_paths:
        return {"type": "log"}
    domains = [parameter.domain for parameter in space.parameters if parameter.path == path]
    is_name = any(isinstance(value, str | bool) for value in values)
    if is_name or all(isinstance(domain, Choices) for domain in domains):
        kinds = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        return {
            "type": "category",
            "categoryarray": [str(kind) for kind in kinds],
            "categoryorder": "array",
        }
    return {"type": "linear"}


def _position(value: Scalar, scale: dict[str, Any]) -> Cell:
    return str(value) if scale["type"] == "category" else value
