"""The publisher: it writes a sweep's runs to MLflow, from the sweep's folders.

It runs in a process that trains nothing. To publish again changes nothing: a run is searched by its
trial's name before it is created, and each point of a curve has the timestamp of its record, so
MLflow stores the same point as the same row.
"""

import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlencode

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # compute nodes have no internet access
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the folders keep what is not sent
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.version import VERSION

from sweeps.analysis.findings import as_markdown, find_all
from sweeps.config.mlflow_names import (
    BEST_EPOCH,
    OBJECTIVE,
    describe_renamed,
    metric_names,
    names_in_mlflow,
)
from sweeps.config.toml import flatten
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Turn
from sweeps.report.page import write_report
from sweeps.search.study import Study
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.sweep_totals import Totals, compute_totals
from sweeps.storage.trial_record import (
    State,
    TrialSnapshot,
    TrialSpec,
    read_curve,
    read_result,
    read_snapshot,
    read_spec,
    trained_attempts,
)
from sweeps.tracking import shared_view
from sweeps.tracking.importances import plotted_evaluations, store_importances
from sweeps.tracking.locations import update_moved_locations
from sweeps.tracking.points import (
    MAX_TAG_CHARACTERS,
    clip,
    log_dataset,
    log_figure,
    log_params,
    log_points,
    log_table,
    points_of_rows,
    run_tags,
)
from sweeps.tracking.schema import schema_message
from sweeps.tracking.store import Store
from sweeps.tracking.sweep_content import (
    exponents_of,
    page_of,
    report_key,
    settings_of,
    trials_table,
)
from sweeps.tracking.times import sweep_ended, sweep_started, trial_ended, trial_started
from sweeps.workers.retry import describe_failures, retry_plan_of

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it also raises its errors

TRIAL_TAG = "sweep.trial"
RENAMED_TAG = "sweep.renamed"
"""The tag with the metrics and parameters that have another name in MLflow."""
STUDY_PAGE = "study.html"
"""The artifact of a sweep's run with the plots of its study."""
DESCRIPTION_TAG = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run, in Markdown."""


@dataclass(frozen=True)
class Published:
    """A record of what was published of one run.

    Attributes:
        store: the identity of the store.
        run: the run's id in the store.
        epochs: the last epoch whose metrics were published.
        done: whether the run's end was published, with its artifacts.
        totals: the sweep's totals as last published; None for a trial.
        description: the run's description as last published; empty if there is none.
        report: the key of the report that was attached last; empty if none was.
    """

    store: str
    run: str
    epochs: int = 0
    done: bool = False
    totals: Mapping[str, float] | None = None
    description: str = ""
    report: str = ""


class Publisher:
    """Brings one sweep's runs in one store up to date with the sweep's folders."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        """Connect to the store; create it if it is a local database that does not exist."""
        self._sweep = sweep
        self._store = store
        create_database(store)
        self._client = client_of(store)
        update_moved_locations(store)
        searched = sweep.plan.confirms
        self._searched_run = None if searched is None else _run_of_searched_sweep(sweep, store)
        self._experiment, self._view = self._find_experiment(searched or sweep.paths.name)
        self._parent = self._parent_run()

    @property
    def run(self) -> tuple[str, str]:
        """The ids of the sweep's experiment and of the run in which its trials are nested."""
        return self._experiment, self._parent.run

    def publish(self, turn: Turn) -> list[str]:
        """Publish what is missing, and return the errors, one line each.

        Args:
            turn: the publisher's turn of the lock; it is renewed before each run.
        """
        trials = (partial(self._publish_trial, paths) for paths in self._sweep.paths.trials())
        return self._send_each((*trials, partial(self._publish_sweep, turn)), turn)

    def _send_each(self, senders: Iterable[Callable[[], list[str]]], turn: Turn) -> list[str]:
        """Send one part after another; one that fails does not stop the others."""
        problems: list[str] = []
        for send in senders:
            turn.renew()
            try:
                problems += send()
            except (MlflowException, OSError, ValueError) as error:
                problems.append(error_line(error, self._store))
        return problems

    def _find_experiment(self, name: str) -> tuple[str, str | None]:
        """Return the id of the experiment and its shared view; create it if it is missing."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id), found.tags.get(shared_view.TAG)
        location = self._store.artifacts_of(name)
        kind = {"mlflow.experimentKind": "custom_model_development"}  # selects the pages shown
        created = self._client.create_experiment(name, artifact_location=location, tags=kind)
        return str(created), None

    def _parent_run(self) -> Published:
        paths, experiment = self._sweep.paths, self._sweep.experiment
        published = _read(paths.mlflow, self._store)
        if published is not None:
            return published
        tags = {"sweep.state": "running", "sweep.data": self._sweep.plan.fingerprint}
        tags["mlflow.source.git.commit"] = self._sweep.plan.commit
        if self._searched_run is not None:
            tags["mlflow.parentRunId"] = self._searched_run
        run = self.find_or_create_run(paths.name, tags, sweep_started(paths))
        # Only what never changes during a sweep: a param in MLflow can be set only once.
        fixed = experiment.model_dump(mode="json", include={"trainer", "objective"})
        log_params(self._client, run, flatten(fixed))
        base = self._sweep.resolved.base.model_dump(mode="json")
        log_dataset(self._client, run, self._sweep.plan.fingerprint, flatten(base))
        self._client.log_artifact(run, str(paths.experiment))
        return _write(paths.mlflow, Published(self._store.identity, run))

    def find_or_create_run(self, name: str, tags: Mapping[str, str], started: float) -> str:
        """Return the id of the run of the trial or sweep `name`; create the run if it is missing.

        Args:
            name: the name of the trial or sweep.
            tags: the tags of a new run.
            started: the start time of a new run, in seconds since 1970.
        """
        if (found := self._single_run(name)) is not None:
            return found
        all_tags = {**tags, TRIAL_TAG: name, "mlflow.user": os.environ.get("USER", "sweeps")}
        clipped = {tag.key: tag.value for tag in run_tags(all_tags)}
        run = self._client.create_run(
            self._experiment, start_time=int(started * 1000), tags=clipped, run_name=name
        )
        return self._single_run(name) or str(run.info.run_id)

    def _single_run(self, name: str, keep: str = "") -> str | None:
        """Return the id of the run of `name`, and delete duplicates; None if there is no run.

        The client cannot choose a run's id. So if the answer to a request is lost, and MLflow's
        client sends the request again, the server creates a second run. One run is kept: `keep` if
        it is among them.
        """
        same_name = f"tags.`{TRIAL_TAG}` = '{name}'"
        runs = self._client.search_runs([self._experiment], filter_string=same_name)
        found = sorted(str(run.info.run_id) for run in runs)
        if not found:
            return None
        kept = keep if keep in found else found[0]
        for other in found:
            if other != kept:
                self._client.delete_run(other)
        return kept

    def _publish_trial(self, paths: TrialPaths) -> list[str]:
        """Publish what is missing of a trial; return a line for each metric that MLflow refuses."""
        published = _read(paths.mlflow, self._store)
        if published is not None and published.done:
            return []
        settled = paths.settled.exists()  # before the curve: a settled trial's curve is complete
        trial = read_spec(paths)
        if published is None:
            published = self._start_trial(paths, trial)
        curve = read_curve(paths)
        names = metric_names(row.metrics for row in curve)
        rows = [row for row in curve if row.epoch > published.epochs]
        problems = log_points(self._client, published.run, points_of_rows(rows, names))
        if rows:
            settings = settings_of(self._sweep, trial)
            self._tag_renamed(published.run, {**names_in_mlflow([settings]), **names})
        if settled:
            self._end_trial(paths, published.run)
        epochs = rows[-1].epoch if rows else published.epochs
        if rows or settled:
            _write(paths.mlflow, Published(published.store, published.run, epochs, settled))
        return [f"trial {paths.name}: {problem}" for problem in problems]

    def _tag_renamed(self, run: str, names: dict[str, str]) -> None:
        """Show which names were changed, because MLflow does not accept them."""
        if renamed := describe_renamed(names):
            self._client.log_batch(run, tags=run_tags({RENAMED_TAG: renamed}))

    def _start_trial(self, paths: TrialPaths, trial: TrialSpec) -> Published:
        tags = {
            "mlflow.parentRunId": self._parent.run,
            "mlflow.source.git.commit": trial.commit or self._sweep.plan.commit,
            "sweep.state": State.RUNNING.value,
            "sweep.data": self._sweep.plan.fingerprint,
        }
        run = self.find_or_create_run(paths.name, tags, trial_started(paths))
        settings = settings_of(self._sweep, trial)
        log_params(self._client, run, settings | exponents_of(self._sweep, trial))
        log_dataset(self._client, run, self._sweep.plan.fingerprint, flatten(trial.config))
        self._client.log_artifact(run, str(paths.config))
        return _write(paths.mlflow, Published(self._store.identity, run))

    def _end_trial(self, paths: TrialPaths, run: str) -> None:
        """Publish what is known only at the end: the state, the best value, the artifacts."""
        result = read_result(paths)
        if result is None:
            raise ValueError(f"{paths.folder}: the trial is settled but has no result")
        # The attempt that trained, not a later one that only settled the trial.
        attempt = next(iter(trained_attempts(paths)), paths.attempts()[-1])
        owner = atomic.read_json(attempt.claim)
        tags = {"sweep.state": result.state.value, "sweep.reason": result.reason}
        tags |= {f"sweep.{name}": owner[name] for name in ("host", "job", "slurm_job")}
        if failures := describe_failures(paths):
            tags |= {
                "sweep.failures": failures,
                "sweep.accumulation_steps": str(retry_plan_of(paths).accumulation_steps),
            }
        ended = int(trial_ended(paths) * 1000)
        metrics = {OBJECTIVE: result.value, BEST_EPOCH: result.best_epoch}
        self._client.log_batch(
            run,
            metrics=[Metric(k, v, ended, 0) for k, v in metrics.items() if v is not None],
            tags=run_tags(tags),
        )
        if result.state is State.COMPLETE:
            self._attach(run, attempt.best_checkpoint, "checkpoints")
        self._attach(run, attempt.figure)
        if attempt.figure.exists():
            shown = attempt.preview if attempt.preview.exists() else attempt.figure
            log_figure(self._client, run, shown, ended)
        for each in paths.attempts():
            self._attach(run, each.traceback)
        status = "FAILED" if result.state is State.FAILED else "FINISHED"
        self._client.set_terminated(run, status, end_time=ended)
        self._single_run(paths.name, keep=run)  # a slow server may have created a duplicate since

    def _attach(self, run: str, file: Path, folder: str | None = None) -> None:
        if file.exists():
            self._client.log_artifact(run, str(file), folder)

    def _publish_sweep(self, turn: Turn) -> list[str]:
        over = self._sweep.is_over()  # before the records: of a sweep that is over they are whole
        snapshots = [read_snapshot(paths) for paths in self._sweep.paths.trials()]
        senders = (
            partial(self._publish_view, snapshots),
            partial(self._publish_totals, snapshots, over=over),
            partial(self._publish_description, snapshots, over=over),
            partial(self._publish_report, over=over),
        )
        return self._send_each(senders, turn)

    def _publish_view(self, snapshots: Sequence[TrialSnapshot]) -> list[str]:
        """Prepare the page of the search's trials, in the experiment, if it would change."""
        known = VERSION.startswith(shared_view.MLFLOW)
        if self._searched_run is not None or not snapshots or not known:
            return []
        page = page_of(self._sweep, snapshots, _trials_filter(self._parent.run))
        view = shared_view.encode_view(page)
        if view != self._view:
            self._client.set_experiment_tag(self._experiment, shared_view.TAG, view)
            self._view = view
        return []

    def _publish_totals(self, snapshots: Sequence[TrialSnapshot], *, over: bool) -> list[str]:
        totals = compute_totals(snapshots, self._sweep.experiment.objective)
        metrics = {f"sweep/{name}": float(value) for name, value in totals.metrics().items()}
        if self._parent.totals == metrics and self._parent.done == over:
            return []
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._parent.run, metrics=[Metric(k, v, now, 0) for k, v in metrics.items()]
        )
        if over:
            self._end_sweep(totals, snapshots)
        elif self._parent.done or self._parent.totals is None:  # extended, or published again
            self._client.update_run(self._parent.run, status="RUNNING")
            self._client.set_tag(self._parent.run, "sweep.state", "running")
        self._parent = _write(
            self._sweep.paths.mlflow, replace(self._parent, done=over, totals=metrics)
        )
        return []

    def _publish_description(self, snapshots: Sequence[TrialSnapshot], *, over: bool) -> list[str]:
        """Publish the findings as the run's description, unless a person wrote another one.

        They change after the end, too: a confirmation shows the spread over seeds.
        """
        text = self._description(snapshots) if over else ""
        if text == self._parent.description:
            return []
        shown = self._client.get_run(self._parent.run).data.tags.get(DESCRIPTION_TAG, "")
        if shown in {"", self._parent.description, text}:
            self._client.set_tag(self._parent.run, DESCRIPTION_TAG, text)
            self._parent = _write(self._sweep.paths.mlflow, replace(self._parent, description=text))
        return []

    def _publish_report(self, *, over: bool) -> list[str]:
        """Write the report, and attach it to the run, if there is more to report than before."""
        key = report_key(self._sweep, self._parent.description)
        if not over or self._searched_run is not None or key == self._parent.report:
            return []
        try:
            file = write_report(self._sweep)
        except Exception as error:  # noqa: BLE001 (an extra: a fault in it keeps nothing else back)
            return [f"the report could not be written: {type(error).__name__}: {error}"]
        self._client.log_artifact(self._parent.run, str(file))
        self._parent = _write(self._sweep.paths.mlflow, replace(self._parent, report=key))
        return []

    def _description(self, snapshots: Sequence[TrialSnapshot]) -> str:
        store_importances(self._sweep, snapshots)
        return clip(as_markdown(find_all(self._sweep, snapshots)), MAX_TAG_CHARACTERS)

    def _end_sweep(self, totals: Totals, snapshots: Sequence[TrialSnapshot]) -> None:
        run = self._parent.run
        study = Study(
            self._sweep.paths, self._sweep.experiment, stale_after=self._sweep.claim_seconds
        )
        with tempfile.TemporaryDirectory() as folder:
            evaluations, enough = plotted_evaluations(self._sweep, snapshots)
            page = Path(folder) / STUDY_PAGE
            study.write_plots(page, evaluations, importances=enough)
            self._client.log_artifact(run, str(page))
        log_table(self._client, run, trials_table(self._sweep, snapshots))
        self._client.set_tag(run, "sweep.state", "complete")
        if totals.best is not None:
            self._client.set_tag(run, "sweep.best", totals.best.name)
        ended = int(sweep_ended(self._sweep.paths) * 1000)
        self._client.set_terminated(run, "FINISHED", end_time=ended)


def client_of(store: Store) -> MlflowClient:
    """Return a client whose registry is in the same store, whatever `$MLFLOW_REGISTRY_URI` says."""
    return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)


def create_database(store: Store) -> None:
    """Create the local database if it is missing: under another name, then linked into place.

    MLflow creates its tables by a chain of migrations. If it is killed during them, it leaves a
    database that no later process can complete or use. The caller must hold the publishers' lock.
    """
    database, drafts = store.runs.database, store.runs.database_drafts
    if not store.is_database_here or database.exists():
        return
    shutil.rmtree(drafts, ignore_errors=True)
    drafts.mkdir(parents=True)
    # Each try uses a new name: MLflow keeps a connection to every database that it has opened.
    draft = drafts / f"{uuid.uuid4().hex}.db"
    draft_store = replace(store, copy=draft)
    client_of(draft_store).search_experiments(max_results=1)
    with suppress(FileExistsError):  # MLflow's own commands create a missing database, too
        os.link(draft, database)
    shutil.rmtree(drafts, ignore_errors=True)


def trials_page_path(sweep: Sweep, store: Store) -> str:
    """Return the path of MLflow's page that compares a sweep's trials, the best first.

    The machine-learning page is named; otherwise MLflow shows its pages for language models.
    Without a prepared view (see `shared_view`) it has MLflow's own columns and charts.

    Returns:
        The part of the URL after the server's address; empty if the sweep has no run in the store.
    """
    published = _read(sweep.paths.mlflow, store)
    experiment = client_of(store).get_experiment_by_name(sweep.paths.name)
    if published is None or experiment is None:
        return ""
    page = f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    if shared_view.TAG in experiment.tags and VERSION.startswith(shared_view.MLFLOW):
        return f"{page}&viewStateShareKey={shared_view.KEY}"  # other settings would override it
    query = {
        "orderByKey": f"metrics.`{OBJECTIVE}`",
        "orderByAsc": "false" if sweep.resolved.experiment.objective.sign > 0 else "true",
        "searchFilter": _trials_filter(published.run),
    }
    return f"{page}&{urlencode(query, quote_via=quote)}"


def _trials_filter(parent: str) -> str:
    """Return the filter that finds the trials nested in a sweep's run.

    Confirmations and promotions are nested in the run, too; their names have other lengths.
    """
    return f"tags.`mlflow.parentRunId` = '{parent}' and tags.`{TRIAL_TAG}` LIKE '____-________'"


def error_line(error: Exception, store: Store) -> str:
    """Return MLflow's error message in one line: what to do, or at least no SQL statement."""
    if (message := schema_message(str(error), store)) is not None:
        return message
    line = " ".join(str(error).split()).partition(" [SQL: ")[0]
    return line.rpartition("(sqlite3.OperationalError) ")[2]


@contextmanager
def errors_in_one_line(store: Store) -> Iterator[None]:
    """Raise MLflow's errors in the block as EnvironmentFailure, with a message of one line."""
    try:
        yield
    except MlflowException as error:
        raise EnvironmentFailure(error_line(error, store)) from error


def _run_of_searched_sweep(confirmation: Sweep, store: Store) -> str:
    """Return the run id of the sweep whose best trials the confirmation trains again."""
    paths = confirmation.paths.runs.sweep(str(confirmation.plan.confirms))
    return Publisher(open_sweep(paths), store).run[1]


def _read(path: Path, store: Store) -> Published | None:
    content = atomic.read_json(path)
    if content is None or content["store"] != store.identity:
        return None
    return Published(**content)


def _write(path: Path, published: Published) -> Published:
    atomic.write(path, json.dumps(asdict(published)))
    return published
