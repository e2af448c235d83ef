"""What a run in MLflow holds, made to fit MLflow's limits: one bad value never costs the others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sweeps.config.mlflow_names import names_in_mlflow
from sweeps.storage.trial_record import EpochRow

MAX_POINTS = 1000
MAX_PARAMS = 100
"""The most points and parameters that MLflow accepts in one request."""
MAX_PARAM_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 5000
"""The longest values that MLflow stores. Tags of versions and descriptions have the same limit."""
_INVALID = "INVALID_PARAMETER_VALUE"


def points_of_rows(rows: Iterable[EpochRow], names: Mapping[str, str]) -> list[Metric]:
    """Return the points of epochs; what is not a number is left out."""
    return [
        Metric(names[name], value, int(row.timestamp), row.epoch)
        for row in rows
        for name, given in row.metrics.items()
        if (value := _number(given)) is not None
    ]


def _number(value: object) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None


def log_points(client: MlflowClient, run: str, points: Sequence[Metric]) -> list[str]:
    """Send points; if the store refuses a request, send each metric of it alone.

    Returns:
        A line for each metric that the store refused.

    Raises:
        MlflowException: the store failed, or refused every metric.
    """
    refused: list[str] = []
    for start in range(0, len(points), MAX_POINTS):
        batch = points[start : start + MAX_POINTS]
        refused += _each_alone(
            dict.fromkeys(point.key for point in batch),
            lambda names, batch=batch: client.log_batch(  # type: ignore[misc]
                run, metrics=[point for point in batch if point.key in names]
            ),
        )
    return list(dict.fromkeys(refused))


def log_params(client: MlflowClient, run: str, settings: Mapping[str, Any]) -> None:
    """Send parameters; a long value is cut."""
    names = names_in_mlflow([settings])
    params = [
        Param(names[key], clip(str(value), MAX_PARAM_CHARACTERS)) for key, value in settings.items()
    ]
    for start in range(0, len(params), MAX_PARAMS):
        client.log_batch(run, params=params[start : start + MAX_PARAMS])


def run_tags(tags: Mapping[str, object]) -> list[RunTag]:
    """Return tags for a run; a long value is cut."""
    return [RunTag(key, clip(str(value), MAX_TAG_CHARACTERS)) for key, value in tags.items()]


def clip(text: str, limit: int) -> str:
    """Return `text`, cut to `limit` characters if it is longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _each_alone(names: Iterable[str], send: Callable[[Iterable[str]], None]) -> list[str]:
    """Send the metrics with these names together; if they are refused, each one alone."""
    every = list(names)
    try:
        send(every)
    except MlflowException as error:
        if error.error_code != _INVALID or len(every) == 1:
            raise
        refused = [(name, problem) for name in every if (problem := _refusal(send, name))]
        if len(refused) == len(every):  # not the names are wrong: the run was deleted, for example
            raise
        return [f"MLflow refuses the metric {name!r}: {problem}" for name, problem in refused]
    return []


def _refusal(send: Callable[[Iterable[str]], None], name: str) -> str | None:
    try:
        send([name])
    except MlflowException as error:
        if error.error_code != _INVALID:
            raise
        return " ".join(str(error).split())
    return None
