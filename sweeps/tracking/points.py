"""What a run in MLflow holds, made to fit MLflow's limits: one bad value never costs the others."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL.Image import open as open_image

from sweeps.config.mlflow_names import names_in_mlflow
from sweeps.tracking.shared_view import IMAGES
from sweeps.trainer import FinishedEpoch

MAX_POINTS = 1000
MAX_PARAMS = 100
"""The most points and parameters that MLflow accepts in one request."""
MAX_PARAM_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 5000
"""The longest values that MLflow stores. Tags of versions and descriptions have the same limit."""
MAX_DATASET_NAME, MAX_DIGEST = 500, 36
"""The longest name and digest of a data set."""
DATA_KEY = "data.root"
"""The configuration key of the data's folder, if a trainer has one."""
_TABLE = "trials.json"
_INVALID = "INVALID_PARAMETER_VALUE"


def points_of_rows(rows: Iterable[FinishedEpoch], names: Mapping[str, str]) -> list[Metric]:
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


def log_dataset(
    client: MlflowClient, run: str, fingerprint: str, settings: Mapping[str, Any]
) -> None:
    """Show the data as an input of a run; MLflow stores the same input of a run once.

    What trainers read is not known here. A configuration with the key `data.root` names the data
    by that; otherwise there is only the fingerprint.

    Args:
        client: the client of the store.
        run: the run's id.
        fingerprint: of the data, from the trainer; nothing is logged without one.
        settings: the run's configuration by dotted path.
    """
    if not fingerprint:
        return
    source = str(settings.get(DATA_KEY, ""))
    # The beginning of the fingerprint of several data sets would be that of the first one.
    several = len(fingerprint) > 64
    digest = hashlib.sha256(fingerprint.encode()).hexdigest() if several else fingerprint
    dataset = Dataset(
        name=clip(Path(source).name or "data", MAX_DATASET_NAME),
        digest=digest[:MAX_DIGEST],
        source_type="local",
        source=json.dumps({"uri": source}),
    )
    context = InputTag("mlflow.data.context", "training")
    with suppress(MlflowException):  # an extra: a store without it still gets the run
        client.log_inputs(run, datasets=[DatasetInput(dataset, [context])])


def log_figure(client: MlflowClient, run: str, file: Path, timestamp: int) -> None:
    """Add a trial's figure to MLflow's image grid, which lays trials side by side.

    A figure that is there already is not sent again: MLflow would keep both, as two images. A file
    that is no picture is left out: it must not keep the run from its end.

    Args:
        client: the client of the store.
        run: the run's id.
        file: the figure, an image file.
        timestamp: when it was made, in milliseconds since 1970.
    """
    if _has_image(client, run):
        return
    try:
        with open_image(file) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for a damaged file
        return
    # The grid shows the images of one step at a time, and trials have different best epochs.
    client.log_image(run, image, key=IMAGES, step=0, timestamp=timestamp)


def _has_image(client: MlflowClient, run: str) -> bool:
    """Return whether a run has a figure with its thumbnail, which MLflow writes after it."""
    names = (file.path for file in client.list_artifacts(run, "images"))
    return any(name.startswith(f"images/{IMAGES}+") and "+compressed" in name for name in names)


def log_table(client: MlflowClient, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as a table that MLflow's pages show; one from before is replaced.

    The client's own `log_table` appends to a table that is there already.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    data = [[row.get(name) for name in columns] for row in rows]
    client.log_dict(run, {"columns": columns, "data": data}, _TABLE)
    tables = json.dumps([{"path": _TABLE, "type": "table"}])
    client.set_tag(run, "mlflow.loggedArtifacts", tables)


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
