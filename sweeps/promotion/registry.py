"""The registry: all that is asked of MLflow's, and the only module that knows it.

A registered model has numbered versions and two aliases: `champion`, the one in use, and
`previous`, the one before it. What a version is and why it was let in stands in its tags, so that
any store can tell it. Registering the same model again finds the version that is there.
"""

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.promotion.entities import (
    MANIFEST,
    RegistryEntry,
    Version,
    package_digest,
    read_manifest,
)
from sweeps.storage.sweep import Sweep
from sweeps.tracking import publisher
from sweeps.tracking.store import Store, update_moved_locations

CHAMPION, PREVIOUS = "champion", "previous"
KEY_TAG, PACKAGE_TAG = "sweep.key", "sweep.package"
ROLLED_BACK_TAG, ALIAS_CHANGE_TAG = "sweep.rolled_back", "sweep.aliases"
DATA = "data"
"""The package's folder in a version, where MLflow's own loader for torch looks for it."""


class Registry:
    """One registered model in one store."""

    def __init__(self, store: Store, name: str) -> None:
        """Connect; nothing is made yet."""
        with store.lock().hold():
            publisher.create_database(store)
            update_moved_locations(store)
        self.name = name
        self._store = store
        self._client = MlflowClient(tracking_uri=store.uri)

    def versions(self) -> list[Version]:
        """Every version, the oldest first; none where nothing is registered."""
        aliases = self._aliases()
        found = self._client.search_model_versions(f"name='{self.name}'")
        return sorted((_version(v, aliases) for v in found), key=lambda v: v.number)

    def version(self, alias: str) -> Version | None:
        """The version that an alias means."""
        return next((v for v in self.versions() if alias in v.aliases), None)

    def find(self, key: str) -> Version | None:
        """The version of a model that is registered already."""
        return next((v for v in self.versions() if v.tags.get(KEY_TAG) == key), None)

    def register(self, sweep: Sweep, entry: RegistryEntry, step: Callable[[str], None]) -> Version:
        """Make the version of a model; made already, it is found. `restate` has it say why.

        Args:
            sweep: the search that it comes from.
            entry: the model.
            step: told the name of each step before it is taken.
        """
        step("run")
        with self._store.lock().hold():
            view = publisher.Publisher(sweep, self._store)
            experiment, parent = view.run
            tags = {"mlflow.parentRunId": parent, "sweep.state": "promotion"}
            run = view.find_or_create_run(entry.name, tags, entry.time / 1000)
        self._fill_run(run, entry)
        step("model")
        model = self._logged_model(experiment, run, entry, step)
        step("version")
        found = self.find(entry.key)
        if found is None:
            self._make_registered_model()
            with default_store(self._store.uri):
                self._client.create_model_version(
                    self.name,
                    source=f"models:/{model.model_id}",
                    run_id=run,
                    model_id=model.model_id,
                    tags={
                        **entry.tags,
                        PACKAGE_TAG: package_digest(entry.package),
                        KEY_TAG: entry.key,
                    },
                )
            found = self.find(entry.key)
        if found is None:
            raise EnvironmentFailure(f"{self._store.uri}: the version just made is not there")
        return found

    def update_tags(self, version: Version, entry: RegistryEntry) -> None:
        """Have a version say why it is let in: in its tags, its description and its files.

        It may have been registered on an earlier decision.
        """
        self._tag(version, entry.tags)
        if ROLLED_BACK_TAG in version.tags:
            self._client.delete_model_version_tag(self.name, str(version.number), ROLLED_BACK_TAG)
        card = entry.card.read_text()
        self._client.update_model_version(self.name, str(version.number), card)
        logged = self._client.get_model_version(self.name, str(version.number)).source
        with tempfile.TemporaryDirectory() as folder:
            for file in (entry.card, *entry.attachments):
                shutil.copy(file, folder)
            self._client.log_model_artifacts(logged.removeprefix("models:/"), folder)

    def fetch(self, version: Version) -> Path:
        """The package of a version, on this machine.

        Raises:
            InputError: it is not one of ours, or not what was registered.
        """
        place = f"{self.name} version {version.number}"
        if PACKAGE_TAG not in version.tags:
            raise InputError(f"{place} was not registered by a promotion; it is not opened")
        try:
            with default_store(self._store.uri):
                uri = f"models:/{self.name}/{version.number}"
                folder = mlflow.artifacts.download_artifacts(uri)
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{place} cannot be fetched: {reason}") from error
        package = Path(folder) / DATA
        if not (package / MANIFEST).is_file():
            raise InputError(f"{place} has no {DATA}/{MANIFEST}: it is damaged; sweeps rollback")
        if package_digest(package) != version.tags[PACKAGE_TAG]:
            raise InputError(f"{place}: {DATA}/{MANIFEST} is not the one that was registered")
        return package

    def set_champion(
        self, version: Version, expected: int | None, step: Callable[[str], None]
    ) -> None:
        """Make a version the champion, and remember the one before it. The last act of all.

        Args:
            version: the new champion.
            expected: the number of the champion that it was held against; None for none.
            step: told the name of each step before it is taken.

        Raises:
            WorldError: another one has become the champion meanwhile.
        """
        self._settle_aliases()
        was = self._aliases()
        if was.get(CHAMPION) != expected:
            now = f"version {was[CHAMPION]}" if CHAMPION in was else "none"
            raise EnvironmentFailure(
                f"{self.name}: the champion is {now} by now; run the same again"
            )
        if expected is not None:
            step("previous")
            self._record_alias_change(was, {CHAMPION: version.number, PREVIOUS: expected})
            self._set_alias(PREVIOUS, expected)
        step("champion")
        self._set_alias(CHAMPION, version.number)
        step("crowned")

    def roll_back(self) -> tuple[int, int]:
        """Make the champion before this one the champion again, and this one the previous.

        Returns:
            The number of the champion until now, and of the one from now on.

        Raises:
            InputError: there is none before it, or it does not open.
        """
        self._settle_aliases()
        champion, previous = self.version(CHAMPION), self.version(PREVIOUS)
        if champion is None:
            raise InputError(f"{self.name} has no champion; promote one with: make promote")
        if previous is None or previous.number == champion.number:
            raise InputError(f"{self.name} version {champion.number} is the first champion")
        self.fetch(previous)
        wanted = {CHAMPION: previous.number, PREVIOUS: champion.number}
        self._record_alias_change(self._aliases(), wanted)
        self._set_alias(CHAMPION, previous.number)
        self._set_alias(PREVIOUS, champion.number)
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        self._tag(champion, {ROLLED_BACK_TAG: when})
        return champion.number, previous.number

    def _record_alias_change(self, was: Mapping[str, int], wanted: Mapping[str, int]) -> None:
        """Write down a change of both aliases before it begins."""
        change = json.dumps({"was": was, "wanted": wanted})
        self._client.set_registered_model_tag(self.name, ALIAS_CHANGE_TAG, change)

    def _settle_aliases(self) -> None:
        """Where a change was killed between its two aliases, end it, or undo it.

        A promotion moves the champion last: one that had not come so far is undone. A rollback
        moves it first: one that had is ended.
        """
        now = self._aliases()
        if not now:
            return
        tags = self._client.get_registered_model(self.name).tags
        change = json.loads(tags.get(ALIAS_CHANGE_TAG, "{}"))
        if not change or now in (change["was"], change["wanted"]):
            return
        reached = "wanted" if now.get(CHAMPION) == change["wanted"][CHAMPION] else "was"
        if PREVIOUS in change[reached]:
            self._set_alias(PREVIOUS, change[reached][PREVIOUS])
        else:
            self._client.delete_registered_model_alias(self.name, PREVIOUS)

    def _aliases(self) -> dict[str, int]:
        try:
            model = self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {alias: int(number) for alias, number in model.aliases.items()}

    def _tag(self, version: Version, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, str(version.number), key, value)

    def _set_alias(self, alias: str, number: int) -> None:
        self._client.set_registered_model_alias(self.name, alias, str(number))

    def _make_registered_model(self) -> None:
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise

    def _fill_run(self, run: str, entry: RegistryEntry) -> None:
        points = [Metric(name, value, entry.time, 0) for name, value in entry.figures.items()]
        self._client.log_batch(run, metrics=points)
        profile = json.dumps(entry.dataset["profile"])
        dataset = Dataset(
            name=entry.dataset["name"],
            digest=entry.dataset["digest"][:36],  # MLflow's limit
            source_type="local",
            source=json.dumps({"uri": entry.dataset["source"]}),
            profile=profile,
        )
        tag = InputTag("mlflow.data.context", "test")
        self._client.log_inputs(run, datasets=[DatasetInput(dataset, [tag])])
        self._client.log_artifacts(run, str(entry.evaluation), "evaluation")
        for file in (entry.card, *entry.attachments):
            self._client.log_artifact(run, str(file))
        self._client.set_terminated(run, "FINISHED", end_time=entry.time)

    def _logged_model(
        self, experiment: str, run: str, entry: RegistryEntry, step: Callable[[str], None]
    ) -> LoggedModel:
        """The model as MLflow keeps it; one that was cut short is filled again."""
        known = self._client.search_logged_models(
            experiment_ids=[experiment], filter_string=f"tags.`{KEY_TAG}` = '{entry.key}'"
        )
        model = known[0] if known else None
        if model is None:
            model = self._client.create_logged_model(
                experiment, name="model", source_run_id=run, tags={KEY_TAG: entry.key}
            )
        if str(model.status) != "READY":
            step("upload")
            with tempfile.TemporaryDirectory() as folder:
                write_model(Path(folder), entry, run, model.model_id)
                self._client.log_model_artifacts(model.model_id, folder)
            model = self._client.finalize_logged_model(model.model_id, "READY")
        return model


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Have MLflow take this store for its default, which it asks where a client was given one."""
    variable = "MLFLOW_TRACKING_URI"
    before = os.environ.get(variable)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ[variable] = before


def write_model(folder: Path, entry: RegistryEntry, run: str, model_id: str) -> None:
    """Lay a package out as MLflow's flavor for torch has it, so that MLflow alone serves it."""
    shutil.copytree(entry.package, folder / DATA)
    manifest = read_manifest(entry.package)
    requirements = [*manifest["requirements"], f"mlflow=={mlflow.__version__}"]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    (folder / "python_env.yaml").write_text("dependencies:\n- -r requirements.txt\n")
    model = Model(run_id=run, model_id=model_id, signature=_signature(manifest))
    if "example" in manifest:
        example = json.loads((entry.package / manifest["example"]).read_text())
        for name in ("input_example.json", "serving_input_example.json"):
            (folder / name).write_text(json.dumps({"inputs": example}))
        model.saved_input_example_info = {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
            "format": "tf-serving",
        }
    torch = next((r.partition("==")[2] for r in requirements if r.startswith("torch==")), "")
    model.add_flavor("pytorch", model_data=DATA, pytorch_version=torch, code=None)
    # What mlflow.pyfunc.add_to_model writes; importing that takes seconds and prints a warning.
    model.add_flavor(
        "python_function",
        loader_module="mlflow.pytorch",
        data=DATA,
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
        config={"device": "cpu"},  # a program made on a CPU stays there
    )
    model.save(str(folder / "MLmodel"))


def _signature(manifest: Mapping[str, Any]) -> ModelSignature:
    def tensors(side: str) -> str:
        spec = {"dtype": manifest[side]["dtype"], "shape": manifest[side]["shape"]}
        return json.dumps([{"type": "tensor", "tensor-spec": spec}])

    return ModelSignature.from_dict({"inputs": tensors("input"), "outputs": tensors("output")})


def _version(version: ModelVersion, aliases: Mapping[str, int]) -> Version:
    number = int(version.version)
    mine = frozenset(alias for alias, meant in aliases.items() if meant == number)
    return Version(number, mine, dict(version.tags), int(version.creation_timestamp))
