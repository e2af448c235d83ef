"""Fixtures: sweeps of the tiny trainer, in a temporary folder, without jobs."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.config.resolve import read_experiment
from sweeps.search.study import Study
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Plan, Sweep, create_or_update
from sweeps.workers.worker import Worker

EXPERIMENT = """
name = "tiny"
trials = {trials}
trainer = "tests.sweeps.tiny:trainer"
[objective]
metric = "val/score"
[sampler]
startup_trials = 4
[pruner]
kind = "{pruner}"
[trial.training]
epochs = {epochs}
seconds = {seconds}
bug = {bug}
gate_at = {gate_at}
[space]
"training.optimizer" = ["adam", "sgd"]
"training.batch_size" = [4, 16, 64]
[space."training.learning_rate"]
depends_on = "training.optimizer"
cases.adam = {{ low = 1e-3, high = 1.0, log = true }}
cases.sgd = {{ low = 1e-2, high = 10.0, log = true }}
"""

MakeSweep = Callable[..., Sweep]


@pytest.fixture
def write_experiment(tmp_path: Path) -> Callable[..., Path]:
    def write(
        trials: int = 8,
        epochs: int = 9,
        pruner: str = "successive_halving",
        seconds: float = 0.0,
        bug: str = "false",
        gate_at: int = 0,
        text: str = EXPERIMENT,
    ) -> Path:
        path = tmp_path / "tiny.toml"
        filled = text.format(
            trials=trials, epochs=epochs, pruner=pruner, seconds=seconds, bug=bug, gate_at=gate_at
        )
        path.write_text(filled)
        return path

    return write


@pytest.fixture
def make_sweep(tmp_path: Path, write_experiment: Callable[..., Path]) -> MakeSweep:
    def make(
        runs: str = "runs",
        claim_seconds: float = 30.0,
        name: str = "tiny",
        cluster: Cluster | None = None,
        **settings: object,
    ) -> Sweep:
        path = write_experiment(**settings)
        folder = RunsPaths(tmp_path / runs)
        resolved = read_experiment(path)
        where = cluster or Cluster(claim_seconds=claim_seconds)
        plan = Plan(resolved.experiment, where, "tiny")
        return create_or_update(folder.sweep(name), resolved, path, plan)

    return make


def worker_of(sweep: Sweep, **settings: float) -> Worker:
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    return Worker(sweep, study, job="job", threads=1, **settings)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """An MLflow database without runs: creating one takes seconds, copying it does not."""
    from mlflow.tracking import MlflowClient

    database = tmp_path_factory.mktemp(f"store-{worker_id}") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def give_store(empty_store: Path) -> Callable[[Sweep], None]:
    def give(sweep: Sweep) -> None:
        shutil.copy(empty_store, sweep.paths.runs.database)

    return give


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    with (folder / "ballast").open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(folder).free == 0
    return folder / "ballast"
