"""What the runs of a sweep show in MLflow: parameters, the prepared page, the table of trials."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.config.mlflow_names import OBJECTIVE, metric_names, names_in_mlflow
from sweeps.config.space import short_names
from sweeps.config.toml import flatten
from sweeps.storage.promotion_paths import scored_candidates
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, TrialSnapshot, TrialSpec
from sweeps.tracking import shared_view
from sweeps.tracking.times import trial_started
from sweeps.trainer import main_metrics


def settings_of(sweep: Sweep, trial: TrialSpec) -> dict[str, Any]:
    """Return the configuration by dotted path; a searched path by its last word if that is new.

    Another field of the configuration may have that word as its whole path.
    """
    settings = flatten(trial.config)
    names = _searched_names(sweep, settings)
    return {names.get(path, path): value for path, value in settings.items()}


def exponents_of(sweep: Sweep, trial: TrialSpec) -> dict[str, float]:
    """Return the decimal logarithm of each value that was searched on a logarithmic scale.

    MLflow's charts of parameters have linear axes only.
    """
    names = _searched_names(sweep, flatten(trial.config))
    return {
        shared_view.exponent_name(names[path]): round(math.log10(float(trial.values[path])), 4)
        for path in sweep.resolved.space.log_paths
    }


def page_of(
    sweep: Sweep, snapshots: Sequence[TrialSnapshot], trials_filter: str
) -> shared_view.Page:
    """Return the page that compares a sweep's trials.

    Args:
        sweep: the sweep.
        snapshots: the records of its trials, at least one.
        trials_filter: the filter of MLflow that finds their runs.
    """
    resolved, first = sweep.resolved, snapshots[0]
    names = _searched_names(sweep, flatten(first.spec.config))
    shown = names_in_mlflow([settings_of(sweep, first.spec) | exponents_of(sweep, first.spec)])
    columns = {path: shown[name] for path, name in names.items()}
    exponents = {
        path: shown[shared_view.exponent_name(names[path])] for path in resolved.space.log_paths
    }
    metrics = metric_names(row.metrics for each in snapshots for row in each.rows[:1])
    important = [resolved.experiment.objective.metric, *main_metrics(resolved.trainer)]
    return shared_view.Page(
        name=f"{sweep.paths.name}: best first",
        made=int(trial_started(first.paths) * 1000),
        trials=trials_filter,
        maximize=resolved.experiment.objective.maximize,
        columns=list(columns.values()),
        axes=list((columns | exponents).values()),
        against_objective=list(exponents.values()),
        curves=[metrics[name] for name in shared_view.by_importance(metrics, important)],
    )


def trials_table(sweep: Sweep, snapshots: Sequence[TrialSnapshot]) -> list[dict[str, Any]]:
    """Return a row for each trial, in the order of their numbers."""
    rows = []
    for each in snapshots:
        names, result = _searched_names(sweep, flatten(each.spec.config)), each.result
        state = State.RUNNING if result is None else result.state
        objective = None if result is None else result.value
        values = {name: each.spec.values.get(path) for path, name in names.items()}
        row = {"trial": each.paths.name, "state": state.value, OBJECTIVE: objective}
        rows.append(row | values | {"epochs": len(each.rows)})
    return rows


def report_key(sweep: Sweep, findings: str) -> str:
    """Return a text that changes when a report of the sweep has more to say than the one before.

    Args:
        sweep: a sweep that is over.
        findings: the findings, as published.
    """
    scored = [paths.scores.read_text(encoding="utf-8") for paths in scored_candidates(sweep.paths)]
    content = json.dumps([len(sweep.paths.trials()), findings, scored])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _searched_names(sweep: Sweep, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each searched path among the settings."""
    paths = sweep.resolved.space.paths
    short = short_names(paths)
    return {path: path if (word := short.get(path, path)) in settings else word for path in paths}
