"""The model registry in MLflow; the only module that uses it.

A registered model has numbered versions and two aliases: `champion`, the version in use, and
`previous`, the champion before it. Where a version comes from and why it was registered is in its
tags, which any MLflow store can show. Registering the same model again finds its existing version.
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
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from sweeps.config.mlflow_names import describe_renamed, names_in_mlflow
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.promotion.entities import (
    CHAMPION,
    MANIFEST,
    PREVIOUS,
    RegistryEntry,
    Version,
    package_digest,
    read_manifest,
)
from sweeps.storage.sweep import Sweep
from sweeps.tracking import publisher
from sweeps.tracking.locations import update_moved_locations
from sweeps.tracking.points import MAX_TAG_CHARACTERS, clip, log_points, points_of_rows
from sweeps.tracking.store import Store
from sweeps.trainer import FinishedEpoch

KEY_TAG, PACKAGE_TAG = "sweep.key", "sweep.package"
ROLLED_BACK_TAG, ALIAS_CHANGE_TAG = "sweep.rolled_back", "sweep.aliases"
DATA = "data"
"""The folder of the package in a version; MLflow's own loader for torch looks for it there."""

_DAMAGED = "if it is the champion, use: sweeps rollback"


def model_names(store: Store) -> list[str]:
    """Return the name of every registered model in the store."""
    client, token, names = publisher.client_of(store), None, []
    while True:
        page = client.search_registered_models(page_token=token)
        names += [str(model.name) for model in page]
        token = page.token
        if not token:
            return sorted(names)


class Registry:
    """One registered model in one store."""

    def __init__(self, store: Store, name: str, *, only_read: bool = False) -> None:
        """Connect to the store; the registered model is not created yet.

        Args:
            store: the store.
            name: the name of the registered model.
            only_read: whether nothing may be written, in the store or among the runs.
        """
        if not only_read:
            with store.lock().hold():
                publisher.create_database(store)
                update_moved_locations(store)
        self.name = name
        self._store = store
        self._client = publisher.client_of(store)

    def versions(self) -> list[Version]:
        """Return every version, the oldest first; none if nothing is registered."""
        aliases = self._aliases()
        versions = self._client.search_model_versions(f"name='{self.name}'")
        return sorted((_version(v, aliases) for v in versions), key=lambda v: v.number)

    def version(self, alias: str) -> Version | None:
        """Return the version that has an alias; None if there is none."""
        return next((v for v in self.versions() if alias in v.aliases), None)

    def find(self, key: str) -> Version | None:
        """Return the version of the model with this key; None if it is not registered."""
        return next((v for v in self.versions() if v.tags.get(KEY_TAG) == key), None)

    def register(self, sweep: Sweep, entry: RegistryEntry, step: Callable[[str], None]) -> Version:
        """Return the version of a model, and create it if it does not exist.

        An existing version keeps its tags; `update_tags` renews them.

        Args:
            sweep: the search that the model comes from.
            entry: the model.
            step: called with the name of each step before the step begins.

        Raises:
            EnvironmentFailure: the store does not show the new version.
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
                        **_clipped(entry.tags),
                        PACKAGE_TAG: package_digest(entry.package),
                        KEY_TAG: entry.key,
                    },
                )
            found = self.find(entry.key)
        if found is None:
            raise EnvironmentFailure(
                f"{self._store.name} does not show the new version of {self.name}; run this again"
            )
        return found

    def update_tags(self, version: Version, entry: RegistryEntry) -> None:
        """Write the latest decision into a version's tags, description and files.

        The version may have been registered after an earlier decision.
        """
        self._tag(version, entry.tags)
        if ROLLED_BACK_TAG in version.tags:
            self._client.delete_model_version_tag(self.name, str(version.number), ROLLED_BACK_TAG)
        card = entry.card.read_text(encoding="utf-8")
        description = clip(card, MAX_TAG_CHARACTERS)  # the whole card is among the files
        self._client.update_model_version(self.name, str(version.number), description)
        source = self._client.get_model_version(self.name, str(version.number)).source
        with tempfile.TemporaryDirectory() as folder:
            for file in (entry.card, *entry.attachments):
                shutil.copy(file, folder)
            self._client.log_model_artifacts(source.removeprefix("models:/"), folder)

    def fetch(self, version: Version) -> Path:
        """Return the folder of a version's package, on this machine.

        Raises:
            InputError: the version was not registered by a promotion, cannot be fetched, or its
                package is not the one that was registered.
        """
        name = f"{self.name} version {version.number}"
        if PACKAGE_TAG not in version.tags:
            raise InputError(f"{name} was not registered by a promotion, so it is not opened")
        try:
            with default_store(self._store.uri):
                # Not the whole model: there, MLflow writes a file beside what it fetches.
                uri = f"models:/{self.name}/{version.number}/{DATA}"
                package = Path(mlflow.artifacts.download_artifacts(uri))
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{name} cannot be fetched: {reason}") from error
        if not (package / MANIFEST).is_file():
            raise InputError(f"{name} is damaged: it has no {DATA}/{MANIFEST}; {_DAMAGED}")
        if package_digest(package) != version.tags[PACKAGE_TAG]:
            raise InputError(
                f"{name}: {DATA}/{MANIFEST} is not the one that was registered; {_DAMAGED}"
            )
        return package

    def folder(self, version: Version) -> Path | None:
        """Return the folder of a version's files; None if it is not on this machine."""
        try:
            uri = self._client.get_model_version_download_uri(self.name, str(version.number))
        except MlflowException:
            return None
        address = urlsplit(uri)
        if address.scheme not in {"", "file"}:
            return None
        package = Path(unquote(address.path)) / DATA
        return package if package.is_dir() else None

    def set_champion(
        self, version: Version, expected: int | None, step: Callable[[str], None]
    ) -> None:
        """Make a version the champion and the old champion the previous one: the last step.

        Args:
            version: the new champion.
            expected: the number of the champion that it was compared with; None for none.
            step: called with the name of each step before the step begins.

        Raises:
            EnvironmentFailure: another version became the champion in the meantime.
        """
        self._settle_aliases()
        was = self._aliases()
        if was.get(CHAMPION) != expected:
            now = f"version {was[CHAMPION]}" if CHAMPION in was else "removed"
            raise EnvironmentFailure(
                f"{self.name}: the champion changed during the promotion (now: {now}); "
                "run the same command again"
            )
        if expected is not None:
            step("previous")
            self._record_alias_change(was, {CHAMPION: version.number, PREVIOUS: expected})
            self._set_alias(PREVIOUS, expected)
        step("champion")
        self._set_alias(CHAMPION, version.number)
        step("champion set")

    def roll_back(self) -> tuple[int, int]:
        """Swap the two aliases: the previous champion becomes the champion again.

        Returns:
            The numbers of the old and of the new champion.

        Raises:
            InputError: there is no champion or no previous one, or the latter cannot be fetched.
        """
        self._settle_aliases()
        champion, previous = self.version(CHAMPION), self.version(PREVIOUS)
        if champion is None:
            raise InputError(f"{self.name} has no champion; promote a model with: make promote")
        if previous is None or previous.number == champion.number:
            name = f"{self.name} version {champion.number}"
            raise InputError(f"{name} is the first champion; there is no previous one")
        self.fetch(previous)
        wanted = {CHAMPION: previous.number, PREVIOUS: champion.number}
        self._record_alias_change(self._aliases(), wanted)
        self._set_alias(CHAMPION, previous.number)
        self._set_alias(PREVIOUS, champion.number)
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        self._tag(champion, {ROLLED_BACK_TAG: when})
        return champion.number, previous.number

    def _record_alias_change(self, was: Mapping[str, int], wanted: Mapping[str, int]) -> None:
        """Record a change of both aliases before it begins."""
        change = json.dumps({"was": was, "wanted": wanted})
        self._client.set_registered_model_tag(self.name, ALIAS_CHANGE_TAG, change)

    def _settle_aliases(self) -> None:
        """Complete or undo a change of the aliases that was killed between the two.

        If `champion` has moved, the change is completed; if not, it is undone. A promotion moves
        `champion` last, so an interrupted one is undone. A rollback moves it first, so an
        interrupted one is completed.
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
        for key, value in _clipped(tags).items():
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
        row = FinishedEpoch(0, entry.metrics, entry.time, 0.0)
        names = names_in_mlflow([entry.metrics])
        log_points(self._client, run, points_of_rows([row], names))
        if renamed := describe_renamed(names):
            self._client.set_tag(run, publisher.RENAMED_TAG, clip(renamed, MAX_TAG_CHARACTERS))
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
        """Return MLflow's logged model of the entry; an incomplete one is uploaded again."""
        found = self._client.search_logged_models(
            experiment_ids=[experiment], filter_string=f"tags.`{KEY_TAG}` = '{entry.key}'"
        )
        model = found[0] if found else None
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


def _clipped(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: clip(value, MAX_TAG_CHARACTERS) for key, value in tags.items()}


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Make this store MLflow's default: some functions use the default, not the client's store."""
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ[name] for name in variables if name in os.environ}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_registry_uri(None)
        mlflow.set_tracking_uri(None)
        for name in variables:  # MLflow has set them to its own
            os.environ.pop(name, None)
        os.environ.update(before)


def write_model(folder: Path, entry: RegistryEntry, run: str, model_id: str) -> None:
    """Write a package in the layout of MLflow's `pytorch` flavor: MLflow can serve it alone."""
    shutil.copytree(entry.package, folder / DATA)
    manifest = read_manifest(entry.package)
    requirements = [*manifest["requirements"], f"mlflow=={mlflow.__version__}"]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    (folder / "python_env.yaml").write_text(
        "dependencies:\n- -r requirements.txt\n", encoding="utf-8"
    )
    model = Model(run_id=run, model_id=model_id, signature=_signature(manifest))
    if "example" in manifest:
        example = json.loads((entry.package / manifest["example"]).read_text(encoding="utf-8"))
        for name in ("input_example.json", "serving_input_example.json"):
            (folder / name).write_text(json.dumps({"inputs": example}), encoding="utf-8")
        model.saved_input_example_info = {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
            "format": "tf-serving",
        }
    torch = next((r.partition("==")[2] for r in requirements if r.startswith("torch==")), "")
    model.add_flavor("pytorch", model_data=DATA, pytorch_version=torch, code=None)
    # The same as mlflow.pyfunc.add_to_model, whose import takes seconds and prints a warning.
    model.add_flavor(
        "python_function",
        loader_module="mlflow.pytorch",
        data=DATA,
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
        config={"device": "cpu"},  # a program that was exported on a CPU runs there
    )
    model.save(str(folder / "MLmodel"))


def _signature(manifest: Mapping[str, Any]) -> ModelSignature:
    def tensors(side: str) -> str:
        spec = {"dtype": manifest[side]["dtype"], "shape": manifest[side]["shape"]}
        return json.dumps([{"type": "tensor", "tensor-spec": spec}])

    return ModelSignature.from_dict({"inputs": tensors("input"), "outputs": tensors("output")})


def _version(version: ModelVersion, aliases: Mapping[str, int]) -> Version:
    number = int(version.version)
    own = frozenset(alias for alias, target in aliases.items() if target == number)
    return Version(number, own, dict(version.tags), int(version.creation_timestamp))
