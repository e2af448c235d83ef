"""`mlflow.db` in the project's folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep
from sweeps.tracking.project_link import is_empty_store, link_project
from sweeps.tracking.store import Store
from sweeps.tracking.sync import publish_once
from tests.sweeps.conftest import MakeSweep, worker_of

ROOT = Path(__file__).parents[3]
NAMES = (
    "from mlflow import MlflowClient; print([e.name for e in MlflowClient().search_experiments()])"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and the place of the runs that `make_sweep` makes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPS_RUNS", raising=False)
    return tmp_path


def store_here(project: Path, empty_store: Path) -> Store:
    runs = RunsPaths(project / "runs")
    runs.lock.mkdir(parents=True)
    shutil.copy(empty_store, runs.database)
    return Store(runs)


def experiments_of_plain_mlflow(folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NAMES],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def test_plain_mlflow_finds_the_runs_also_when_the_project_was_moved(
    project: Path, make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=1)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    assert link_project(Store(sweep.paths.runs)) is None
    before = sorted(path.name for path in project.iterdir())
    assert "'tiny'" in experiments_of_plain_mlflow(project)
    assert sorted(path.name for path in project.iterdir()) == before
    moved = project / "moved"
    moved.mkdir()
    for name in ("runs", "mlflow.db"):
        (project / name).rename(moved / name)
    assert "'tiny'" in experiments_of_plain_mlflow(moved)


def test_the_link_may_come_before_the_database(project: Path) -> None:
    store = Store(RunsPaths(project / "runs"))
    store.runs.folder.mkdir()
    assert link_project(store) is None
    assert experiments_of_plain_mlflow(project) == "['Default']\n"
    assert is_empty_store(store.runs.database)
    assert (project / "mlflow.db").is_symlink()


@pytest.mark.parametrize("kind", ["an empty store", "an empty file"])
def test_a_store_that_is_empty_becomes_the_link(
    kind: str, project: Path, empty_store: Path
) -> None:
    store, link = store_here(project, empty_store), project / "mlflow.db"
    if kind == "an empty store":
        shutil.copy(empty_store, link)
    else:
        link.touch()
    note = link_project(store)
    assert note is not None
    assert note.startswith(f"{link} had no runs; it is now a link to")
    assert link.samefile(store.runs.database)
    assert link_project(store) is None


def add_run(client: MlflowClient) -> None:
    client.create_run("0")


def add_experiment(client: MlflowClient) -> None:
    client.create_experiment("mine")


def add_model(client: MlflowClient) -> None:
    client.create_registered_model("mine")


def add_tag(client: MlflowClient) -> None:
    client.set_experiment_tag("0", "mine", "yes")


@pytest.mark.parametrize("add", [add_run, add_experiment, add_model, add_tag])
def test_a_store_with_anything_in_it_is_kept_and_named(
    add: Callable[[MlflowClient], None], project: Path, empty_store: Path
) -> None:
    store, own = store_here(project, empty_store), project / "mlflow.db"
    shutil.copy(empty_store, own)
    add(MlflowClient(tracking_uri=f"sqlite:///{own}"))
    content = own.read_bytes()
    note = link_project(store)
    assert note is not None
    assert note.startswith(f"{own} is another store")
    assert "sweeps ui" in note
    assert str(store.runs.folder) in note
    assert own.read_bytes() == content
    assert not own.is_symlink()


@pytest.mark.parametrize("content", [b"SQLite format 3\x00 and more", b"notes"])
def test_a_file_that_is_no_store_is_kept(content: bytes, project: Path, empty_store: Path) -> None:
    store, own = store_here(project, empty_store), project / "mlflow.db"
    own.write_bytes(content)
    assert "is another store" in str(link_project(store))
    assert own.read_bytes() == content


def test_a_link_to_other_runs_follows_the_default_and_any_other_link_is_kept(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = store_here(project, empty_store)
    elsewhere = store_here(project / "scratch", empty_store)
    assert link_project(elsewhere) is None
    assert not (project / "mlflow.db").exists()  # those runs were named by --runs
    monkeypatch.setenv("SWEEPS_RUNS", str(elsewhere.runs.folder))
    link_project(elsewhere)
    assert (project / "mlflow.db").samefile(elsewhere.runs.database)
    monkeypatch.delenv("SWEEPS_RUNS")
    link_project(here)
    assert (project / "mlflow.db").samefile(here.runs.database)
    (project / "mlflow.db").unlink()
    own = project / "own" / "mlflow.db"
    own.parent.mkdir()
    shutil.copy(empty_store, own)
    (project / "mlflow.db").symlink_to(own)
    assert "is another store" in str(link_project(here))
    assert (project / "mlflow.db").samefile(own)


@pytest.mark.parametrize("target", ["away/mlflow.db", "scratch/runs/other.db", "mlflow.db"])
def test_a_link_to_nothing_is_kept_and_named(target: str, project: Path, empty_store: Path) -> None:
    store, link = store_here(project, empty_store), project / "mlflow.db"
    (project / "scratch" / "runs" / "store" / "lock").mkdir(parents=True)
    link.symlink_to(project / target)  # the last one is a link to itself
    note = link_project(store)
    assert f"{link} is a link to {project / target}, which is not there now; remove" in str(note)
    assert link.readlink() == project / target


def test_a_link_to_other_runs_without_a_database_follows_the_default(
    project: Path, empty_store: Path
) -> None:
    store, link = store_here(project, empty_store), project / "mlflow.db"
    (project / "scratch" / "runs" / "store" / "lock").mkdir(parents=True)
    link.symlink_to(project / "scratch" / "runs" / "mlflow.db")
    assert link_project(store) is None
    assert link.samefile(store.runs.database)


def test_where_links_cannot_be_made_nothing_changes(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_here(project, empty_store)
    shutil.copy(empty_store, project / "mlflow.db")

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert link_project(store) is None
    assert sorted(path.name for path in project.iterdir()) == ["mlflow.db", "runs"]
    assert is_empty_store(project / "mlflow.db")


def test_a_project_on_a_read_only_mount_gets_no_link(project: Path, empty_store: Path) -> None:
    runs, folder = store_here(project, empty_store).runs, project / "code"
    folder.mkdir()
    program = (
        "from sweeps.storage.sweep import runs_folder; from sweeps.tracking.store import Store\n"
        "from sweeps.tracking.project_link import link_project\n"
        "print(link_project(Store(runs_folder())))"
    )
    script = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$1" -c "$2"'
    )
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(folder), sys.executable, program],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SWEEPS_RUNS": str(runs.folder)},
        capture_output=True,
        text=True,
    )
    if "mount:" in ended.stderr or "unshare:" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert (ended.stdout, ended.stderr) == ("None\n", "")
    assert list(folder.iterdir()) == []


def test_runs_in_another_store_get_no_link(project: Path) -> None:
    assert link_project(Store(RunsPaths(project / "runs"), "http://127.0.0.1:9")) is None
    assert list(project.iterdir()) == []
