"""Runs that one may only read: nothing is written there, and everything that reads works."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import EnvironmentFailure
from sweeps.storage.job_record import JobRecord, write_job_record
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep
from sweeps.tracking.access import readable_store, why_not_writable
from sweeps.tracking.publisher import client_of
from sweeps.tracking.store import Store, resolve_store
from sweeps.tracking.sync import publish_once
from sweeps.tracking.ui import serve
from tests.sweeps.conftest import MakeSweep, fill
from tests.sweeps.promotion.conftest import confirmed, with_promotion
from tests.sweeps.promotion.test_pipeline import ANY_SCORE, run_promotion
from tests.sweeps.tracking.test_ui import ask, free_port

ROOT = Path(__file__).parents[3]
WITHOUT_RIGHTS = ["setpriv", "--inh-caps=-all"]
WITHOUT_RIGHTS += ["--bounding-set=-dac_override,-dac_read_search,-fowner,-chown"]
"""Root without its rights over the files of others is a user like every other."""
FETCH = "from sweeps.promotion.fetch import fetch; print(fetch('models:/tests-tiny@champion'))"

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


@pytest.fixture
def promoted(make_sweep: MakeSweep, give_store: Callable[[Sweep], None]) -> Sweep:
    sweep = make_sweep(trials=2, pruner="none")
    give_store(sweep)
    confirmed(sweep)
    assert run_promotion(with_promotion(sweep, **ANY_SCORE), force="test")[0].version == 1
    assert publish_once(sweep) is None
    return sweep


@pytest.fixture
def seen(promoted: Sweep) -> Iterator[RunsPaths]:
    """The runs in a place that every user can read, as their owner left them."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name) / "runs"
        shutil.copytree(promoted.paths.runs.folder, folder)
        subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
        yield RunsPaths(folder)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file, with its size and the time of its last change."""
    found = (path for path in folder.rglob("*"))
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def as_another_user(
    runs: RunsPaths, *arguments: str, path: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run Python as a user to whom the runs do not belong."""
    return subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, *arguments],
        cwd=runs.folder.parent,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "SWEEPS_RUNS": str(runs.folder)}
        | {"PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@needs_root
def test_another_user_reads_everything_and_writes_nothing(seen: RunsPaths) -> None:
    before = everything(seen.folder)
    for command, expected in {
        "status": " trials, ",
        "watch": "best trial: ",
        "models": "champion",
        "clean": "nothing to remove",
    }.items():
        ended = as_another_user(seen, "-m", "sweeps", command)
        assert ended.returncode == 0, ended.stderr
        assert expected in ended.stdout
    fetched = as_another_user(seen, "-c", FETCH)
    assert fetched.stdout.strip().startswith(str(seen.artifacts)), fetched.stderr
    for command in ("sync", "sync --take-over", "rollback"):
        ended = as_another_user(seen, "-m", "sweeps", *command.split())
        assert ended.returncode == 2, command
        assert f"this user may not write to {seen.folder}\n" in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert everything(seen.folder) == before


@needs_root
def test_the_state_of_another_users_slurm_sweep_is_shown(seen: RunsPaths) -> None:
    sweep = seen.sweep("tiny")
    plan = json.loads(sweep.plan.read_text())
    plan["cluster"]["scheduler"] = "slurm"
    sweep.plan.write_text(json.dumps(plan))
    job = sweep.job("a-job")
    job.folder.mkdir(parents=True)
    write_job_record(job.submitted, JobRecord("7", "slurm", None))
    commands = seen.folder.with_name("bin")
    commands.mkdir()
    squeue = commands / "squeue"
    squeue.write_text('#!/bin/sh\ntouch "$0.called"\n')
    squeue.chmod(0o755)
    subprocess.run(["chown", "-R", "65534:65534", str(seen.folder)], check=True)
    before = everything(seen.folder)
    ended = as_another_user(seen, "-m", "sweeps", "status", "tiny", path=commands)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 trials" in ended.stdout
    assert "job 7 submitted by nobody; only nobody can see its state" in ended.stdout
    assert not Path(f"{squeue}.called").exists()
    assert everything(seen.folder) == before


@needs_root
def test_a_mount_that_is_read_only_can_be_read_by_its_owner(seen: RunsPaths) -> None:
    folder = str(seen.folder)
    mounted = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}" && '
    script = mounted + f'"{sys.executable}" -m sweeps "$0" --runs "{folder}"'
    for command, expected in {"models": "champion", "sync": "this user may not write to"}.items():
        ended = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, command],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if "mount" in ended.stderr or "unshare" in ended.stderr:
            pytest.skip(ended.stderr.strip())
        assert expected in ended.stdout + ended.stderr


@needs_root
@pytest.mark.parametrize("number", ENDING)
def test_ui_of_such_runs_serves_a_copy_and_says_from_when(
    number: signal.Signals, seen: RunsPaths, tmp_path: Path
) -> None:
    before, port = everything(seen.folder), free_port()
    command = [*WITHOUT_RIGHTS, sys.executable, "-m", "sweeps", "ui", "--port", str(port)]
    temporary = seen.folder.with_name("temporary")
    temporary.mkdir()
    with (tmp_path / "output").open("w") as out:
        server = subprocess.Popen(
            [*command, "--runs", str(seen.folder)],
            cwd=seen.folder.parent,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal sends its signals to all processes in it
        )
    try:
        found = ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tiny")
        experiment = found["experiment"]["experiment_id"]
        runs = ask(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment]})["runs"]
        assert len(runs) > 2
        files = ask(port, f"/api/2.0/mlflow/artifacts/list?run_id={runs[0]['info']['run_id']}")
        assert files["files"]
    finally:
        os.killpg(server.pid, number)
        status = server.wait(timeout=60)
    assert status == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))  # no process of the server listens any more
    output = (tmp_path / "output").read_text()
    assert f"this user may not write to {seen.folder}\n" in output
    assert "these pages show a copy of the database (last written 20" in output
    assert "Traceback" not in output
    assert everything(seen.folder) == before
    assert list(temporary.iterdir()) == []


def test_a_host_without_the_lease_reads_a_copy(
    promoted: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = resolve_store(promoted.paths.runs, None)
    with readable_store(store) as direct:
        assert direct == store
    monkeypatch.setenv("SWEEPS_HOST", "login2")
    assert "only host" in str(why_not_writable(store))
    before = everything(store.runs.folder)
    with readable_store(store) as copy:
        assert copy.copy is not None
        assert client_of(copy).get_experiment_by_name("tiny") is not None
    assert not copy.copy.exists()
    assert everything(store.runs.folder) == before


def test_in_a_copy_of_moved_runs_the_artifacts_are_where_they_are_now(
    promoted: Sweep, tmp_path: Path
) -> None:
    moved = RunsPaths(tmp_path / "moved")
    promoted.paths.runs.folder.rename(moved.folder)
    before = everything(moved.folder)
    with readable_store(Store(moved)) as copy:
        client = client_of(copy)
        experiment = client.get_experiment_by_name("tiny")
        assert experiment.artifact_location == moved.artifacts_of("tiny").as_uri()
        for run in client.search_runs([experiment.experiment_id]):
            assert client.list_artifacts(run.info.run_id)
    assert everything(moved.folder) == before


def test_the_copy_waits_for_a_writer_and_is_whole(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1)
    give_store(sweep)
    store = resolve_store(sweep.paths.runs, None)
    assert why_not_writable(store) is None
    monkeypatch.setenv("SWEEPS_HOST", "login2")
    writer = sqlite3.connect(store.runs.database, isolation_level=None, check_same_thread=False)
    with closing(writer):
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('a', 'active')")
        writer.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('b', 'active')")
        commit = threading.Timer(0.5, lambda: writer.execute("COMMIT"))
        commit.start()
        with readable_store(store) as copy, closing(sqlite3.connect(copy.copy)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM experiments")}
        commit.join()
    assert names == {"Default", "a", "b"}


def test_a_signal_before_the_server_is_there_ends_it(
    promoted: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen, before = subprocess.Popen, {n: signal.getsignal(n) for n in ENDING}

    def popen_after_a_signal(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        signal.raise_signal(signal.SIGHUP)
        return popen(*arguments, **settings)

    monkeypatch.setattr("sweeps.filesystem.local_server.subprocess.Popen", popen_after_a_signal)
    try:
        serve(resolve_store(promoted.paths.runs, None), free_port(), "")  # comes back
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_temporary_folder_that_is_full_or_missing_is_no_damaged_database(
    promoted: Sweep, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = resolve_store(promoted.paths.runs, None)
    monkeypatch.setenv("SWEEPS_HOST", "login2")
    fill(small_disk)
    reason = r"has no place for one \(.*\); set \$TMPDIR to another folder$"
    for folder in (small_disk, small_disk / "missing"):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(EnvironmentFailure, match=reason), readable_store(store):
            pass


def test_a_damaged_database_is_named_in_one_line(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1)
    store = resolve_store(sweep.paths.runs, None)
    assert why_not_writable(store) is None
    store.runs.database.write_bytes(b"no database" * 1000)
    monkeypatch.setenv("SWEEPS_HOST", "login2")
    with (
        pytest.raises(EnvironmentFailure, match=r"mlflow.db cannot be read \(file is not a data"),
        readable_store(store),
    ):
        pass
