"""Publishing to MLflow: all that is asked of it, and the only module that knows it.

What MLflow shows is made from the sweep's folders, by a process that trains nothing. Doing it
again changes nothing: a run is looked for by its trial's name before it is made, and a point of
a curve carries the timestamp it was recorded with, so the same point is the same row.
"""

import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # compute nodes see no internet
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the folder keeps what is not sent
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sweeps.config.space import short_names
from sweeps.config.toml import flatten
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Turn
from sweeps.search.study import Study
from sweeps.storage.paths import TrialPaths
from sweeps.storage.results import Totals, compute_totals
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import (
    State,
    TrialSpec,
    read_curve,
    read_result,
    read_snapshot,
    read_spec,
    trained_attempts,
)
from sweeps.tracking.store import Store, update_moved_locations
from sweeps.workers.retry import describe_failures, retry_plan_of

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it raises what it logs

TRIAL_TAG = "sweep.trial"
BATCH = 1000
"""MLflow takes so many points in one request."""


@dataclass(frozen=True)
class Published:
    """What a store has been given of one run.

    Attributes:
        store: which store.
        run: the run's id there.
        epochs: up to which epoch its curve was sent.
        done: whether the end was sent too, artifacts included.
        totals: the sweep's totals as last sent; empty for a trial.
    """

    store: str
    run: str
    epochs: int = 0
    done: bool = False
    totals: Mapping[str, float] | None = None


class Publisher:
    """Brings one sweep's runs in one store up to what its folders say."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        """Connect to the store; it is made where it is a database that is not there yet."""
        self._sweep = sweep
        self._store = store
        create_database(store)
        self._client = MlflowClient(tracking_uri=store.uri)
        update_moved_locations(store)
        within = sweep.plan.confirms
        self._above = None if within is None else _search(sweep, store)
        self._experiment = self._experiment_id(within or sweep.paths.name)
        self._parent = self._parent_run()

    @property
    def run(self) -> tuple[str, str]:
        """The experiment that shows the sweep, and the run that its trials are nested in."""
        return self._experiment, self._parent.run

    def publish(self, turn: Turn) -> list[str]:
        """Send what is missing; say what could not be sent, and of which run.

        Args:
            turn: the publisher's right to write, shown to be alive before each run.
        """
        problems = []
        for send in (*map(self._sender, self._sweep.paths.trials()), self._publish_totals):
            turn.renew()
            try:
                send()
            except (MlflowException, OSError, ValueError) as error:  # one run stops no other
                problems.append(error_line(error))
        return problems

    def _sender(self, paths: TrialPaths) -> Callable[[], None]:
        return lambda: self._publish_trial(paths)

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = self._store.artifacts_of(name)
        kind = {"mlflow.experimentKind": "custom_model_development"}  # which pages MLflow shows
        return str(self._client.create_experiment(name, artifact_location=location, tags=kind))

    def _parent_run(self) -> Published:
        paths, experiment = self._sweep.paths, self._sweep.experiment
        known = _read(paths.mlflow, self._store)
        if known is not None:
            return known
        tags = {"sweep.state": "running", "sweep.data": self._sweep.plan.fingerprint}
        tags["mlflow.source.git.commit"] = self._sweep.plan.commit
        if self._above is not None:
            tags["mlflow.parentRunId"] = self._above
        run = self.find_or_create_run(paths.name, tags, paths.identity.stat().st_mtime)
        # Only what cannot change under a sweep: MLflow takes a param once.
        fixed = experiment.model_dump(mode="json", include={"trainer", "objective"})
        self._client.log_batch(run, params=_params(flatten(fixed)))
        self._client.log_artifact(run, str(paths.experiment))
        return _write(paths.mlflow, Published(self._store.identity, run))

    def find_or_create_run(self, name: str, tags: Mapping[str, str], started: float) -> str:
        """The id of the run that shows `name`, made only if it is not there."""
        if (found := self._single_run(name)) is not None:
            return found
        all_tags = {**tags, TRIAL_TAG: name, "mlflow.user": os.environ.get("USER", "sweeps")}
        run = self._client.create_run(
            self._experiment, start_time=int(started * 1000), tags=all_tags, run_name=name
        )
        return self._single_run(name) or str(run.info.run_id)

    def _single_run(self, name: str, keep: str = "") -> str | None:
        """The id of the run that shows `name`; None where there is none.

        A run cannot be given its id, so a request whose answer was lost on the way, sent again by
        MLflow's client, makes a second one. Of these one stays: `keep`, if it is among them.
        """
        known = f"tags.`{TRIAL_TAG}` = '{name}'"
        runs = self._client.search_runs([self._experiment], filter_string=known)
        found = sorted(str(run.info.run_id) for run in runs)
        if not found:
            return None
        one = keep if keep in found else found[0]
        for other in found:
            if other != one:
                self._client.delete_run(other)
        return one

    def _publish_trial(self, paths: TrialPaths) -> None:
        known = _read(paths.mlflow, self._store)
        if known is not None and known.done:
            return
        settled = paths.settled.exists()  # asked first: every row is in the folder by then
        trial = read_spec(paths)
        if known is None:
            known = self._start_trial(paths, trial)
        rows = [row for row in read_curve(paths) if row.epoch > known.epochs]
        points = [
            Metric(name, value, row.timestamp, row.epoch)
            for row in rows
            for name, value in row.metrics.items()
        ]
        for start in range(0, len(points), BATCH):
            self._client.log_batch(known.run, metrics=points[start : start + BATCH])
        if settled:
            self._end_trial(paths, known.run)
        epochs = rows[-1].epoch if rows else known.epochs
        if points or settled:
            _write(paths.mlflow, Published(known.store, known.run, epochs, settled))

    def _start_trial(self, paths: TrialPaths, trial: TrialSpec) -> Published:
        tags = {
            "mlflow.parentRunId": self._parent.run,
            "mlflow.source.git.commit": trial.commit or self._sweep.plan.commit,
            "sweep.state": State.RUNNING.value,
            "sweep.data": self._sweep.plan.fingerprint,
        }
        run = self.find_or_create_run(paths.name, tags, paths.config.stat().st_mtime)
        short = short_names(self._sweep.resolved.space.paths)
        settings = {short.get(path, path): value for path, value in flatten(trial.config).items()}
        self._client.log_batch(run, params=_params(settings))
        self._client.log_artifact(run, str(paths.config))
        return _write(paths.mlflow, Published(self._store.identity, run))

    def _end_trial(self, paths: TrialPaths, run: str) -> None:
        """Send what is known only at the end: the state, the best value, the artifacts."""
        result = read_result(paths)
        if result is None:
            raise ValueError(f"{paths.folder} is settled and has no result")
        # The attempt that trained, not one that came only to settle.
        attempt = next(iter(trained_attempts(paths)), paths.attempts()[-1])
        owner = atomic.read_json(attempt.claim)
        tags = {"sweep.state": result.state.value, "sweep.reason": result.reason}
        tags |= {f"sweep.{name}": owner[name] for name in ("host", "job", "slurm_job")}
        if failures := describe_failures(paths):
            tags |= {
                "sweep.failures": failures,
                "sweep.accumulation_steps": str(retry_plan_of(paths).accumulation_steps),
            }
        rows = read_curve(paths)
        ended = rows[-1].timestamp if rows else int(time.time() * 1000)
        figures = {"objective": result.value, "best_epoch": result.best_epoch}
        self._client.log_batch(
            run,
            metrics=[Metric(k, v, ended, 0) for k, v in figures.items() if v is not None],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        if result.state is State.COMPLETE:
            self._attach(run, attempt.best_checkpoint, "checkpoints")
        self._attach(run, attempt.figure)
        for tried in paths.attempts():
            self._attach(run, tried.traceback)
        status = "FAILED" if result.state is State.FAILED else "FINISHED"
        self._client.set_terminated(run, status, end_time=ended)
        self._single_run(paths.name, keep=run)  # a slow server may have made another since

    def _attach(self, run: str, file: Path, folder: str | None = None) -> None:
        if file.exists():
            self._client.log_artifact(run, str(file), folder)

    def _publish_totals(self) -> None:
        over = self._sweep.is_over()
        looks = [read_snapshot(paths) for paths in self._sweep.paths.trials()]
        totals = compute_totals(looks, self._sweep.experiment.objective)
        figures = {f"sweep/{name}": float(value) for name, value in totals.figures().items()}
        if self._parent.totals == figures and self._parent.done == over:
            return
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._parent.run, metrics=[Metric(k, v, now, 0) for k, v in figures.items()]
        )
        if over:
            self._end_sweep(totals)
        elif self._parent.done or self._parent.totals is None:  # extended, or sent anew
            self._client.update_run(self._parent.run, status="RUNNING")
            self._client.set_tag(self._parent.run, "sweep.state", "running")
        self._parent = _write(
            self._sweep.paths.mlflow,
            Published(self._store.identity, self._parent.run, 0, over, figures),
        )

    def _end_sweep(self, totals: Totals) -> None:
        run = self._parent.run
        study = Study(
            self._sweep.paths, self._sweep.experiment, stale_after=self._sweep.claim_seconds
        )
        with tempfile.TemporaryDirectory() as folder:
            for plot in study.render_plots(Path(folder)):
                self._client.log_artifact(run, str(plot), "study")
        self._client.set_tag(run, "sweep.state", "complete")
        if totals.best is not None:
            self._client.set_tag(run, "sweep.best", totals.best.name)
        self._client.set_terminated(run, "FINISHED")


def create_database(store: Store) -> None:
    """Make the database here unless it is there: to one side, and into place once it is whole.

    MLflow makes its tables by a chain of migrations. One that is killed on its way leaves a
    database that no later process can finish, or use. The publishers' lock is to be held.
    """
    database, drafts = store.runs.database, store.runs.database_drafts
    if not store.is_database_here or database.exists():
        return
    shutil.rmtree(drafts, ignore_errors=True)
    drafts.mkdir(parents=True)
    # A name of its own for each try: MLflow keeps a connection to every database it has seen.
    draft = drafts / f"{uuid.uuid4().hex}.db"
    MlflowClient(tracking_uri=f"sqlite:///{draft}").search_experiments(max_results=1)
    with suppress(FileExistsError):  # MLflow's own commands make one where they find none
        os.link(draft, database)
    shutil.rmtree(drafts, ignore_errors=True)


def trials_page_path(sweep: Sweep, store: Store) -> str:
    """Where MLflow's pages lay a published sweep's trials side by side, the best first.

    Returns:
        what follows the server's address; empty where the sweep has no run in the store.
    """
    known = _read(sweep.paths.mlflow, store)
    experiment = MlflowClient(tracking_uri=store.uri).get_experiment_by_name(sweep.paths.name)
    if known is None or experiment is None:
        return ""
    nested = f"tags.`mlflow.parentRunId` = '{known.run}'"
    query = {
        "compareRunsMode": "CHART",
        "orderByKey": "metrics.`objective`",
        "orderByAsc": "false" if sweep.resolved.experiment.objective.sign > 0 else "true",
        # Confirmations and promotions are nested in it too, and their names are of other lengths.
        "searchFilter": f"{nested} and tags.`{TRIAL_TAG}` LIKE '____-________'",
    }
    return f"/#/experiments/{experiment.experiment_id}/runs?{urlencode(query, quote_via=quote)}"


def error_line(error: Exception) -> str:
    """What MLflow said, in one line, without what its database was given to do."""
    line = " ".join(str(error).split()).partition(" [SQL: ")[0]
    return line.rpartition("(sqlite3.OperationalError) ")[2]


def _search(confirmation: Sweep, store: Store) -> str:
    """The run of the sweep whose best trials another one trains again."""
    paths = confirmation.paths.runs.sweep(str(confirmation.plan.confirms))
    return Publisher(open_sweep(paths), store).run[1]


def _params(settings: Mapping[str, Any]) -> list[Param]:
    return [Param(key, str(value)) for key, value in settings.items()]


def _read(path: Path, store: Store) -> Published | None:
    content = atomic.read_json(path)
    if content is None or content["store"] != store.identity:
        return None
    return Published(**content)


def _write(path: Path, published: Published) -> Published:
    atomic.write(path, json.dumps(asdict(published)))
    return published
