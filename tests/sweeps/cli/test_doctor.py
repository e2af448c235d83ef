"""`sweeps doctor` without SLURM: disk space, quotas, clocks, tracking servers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.cli.doctor import _resources, compare_clocks, run_checks
from sweeps.cli.doctor_checks import Finding, run_check
from sweeps.config.cluster import Cluster
from sweeps.jobs.start import SweepRequest
from sweeps.storage.paths import RunsPaths
from sweeps.tracking.server import check_tracking_server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an MLflow server that accepts the host name 127.0.0.1 and no other."""
    port, folder = free_port(), tmp_path_factory.mktemp("server")
    store = folder / "mlflow.db"
    store.write_bytes(empty_store.read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{store}"]
    command += ["--allowed-hosts", "127.0.0.1,127.0.0.1:*"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def test_a_tracking_server_that_answers_passes_and_one_that_refuses_the_host_name_fails(
    server: int,
) -> None:
    uri = f"http://127.0.0.1:{server}"
    assert run_check("tracking store", lambda: check_tracking_server(uri)) == Finding(
        "tracking store", True, f"{uri} answers"
    )
    refused = run_check(
        "tracking store", lambda: check_tracking_server(f"http://localhost:{server}/")
    )
    assert not refused.passed
    assert (
        "answers 403: it refuses this host name; start it with --allowed-hosts" in refused.message
    )
    assert not run_check("", lambda: check_tracking_server(f"{uri}/elsewhere")).passed


def test_a_tracking_server_that_does_not_answer_gives_one_line_with_what_to_do() -> None:
    line = run_check(
        "tracking store", lambda: check_tracking_server(f"http://127.0.0.1:{free_port()}")
    ).line()
    assert line.startswith("✗ tracking store: http://127.0.0.1:")
    assert "does not answer ([Errno 111] Connection refused); start it" in line
    assert "\n" not in line
    assert not run_check("", lambda: check_tracking_server("http://no-such-host.invalid")).passed


def test_a_server_named_in_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert check_tracking_server(None) == "a database in the runs folder; no server is used"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert not run_check("", lambda: check_tracking_server(None)).passed


@pytest.mark.parametrize("uri", ["postgresql://me@db/runs", "sqlite:///other.db"])
def test_a_store_that_is_no_server_is_named_and_not_asked(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_tracking_server(uri) == f"{uri} is no HTTP server, so it was not asked"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert check_tracking_server(None).startswith(uri)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("Disk quotas for user ada (uid 7):\nFilesystem space quota limit\n"
         "server:/home\n      12G     16G     17G     140k       0       0\n", "12G of 16G used"),
        ("Disk quotas:\n  fs space quota limit\n  /dev/sda1 900M 0K 16G 1 0 0\n", "900M of 16G"),
        ("Disk quotas:\n  fs space quota limit\n  fs:/home 12G 16G 17G 140k 200k 300k\n",
         "12G of 16G used, 140k of 200k files"),
        ("Disk quotas:\n  fs space quota limit\n  fs:/home 9G 16G 17G none 140k* 0 130k 6days\n",
         "9G of 16G used, 140k of 130k files"),
        ("Disk quotas for user ada (uid 7): none\n", None),
        ("  fs space quota limit grace\n  /dev/sda1 17G* 16G 18G 6days 1 0 0\n", "over quota: 17G"),
    ],
)  # fmt: skip
def test_a_quota_is_shown_and_fails_if_it_is_used_up(
    output: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "answer").write_text(output)
    (tmp_path / "quota").write_text(f"#!/bin/bash\ncat {tmp_path}/answer\n")
    (tmp_path / "quota").chmod(0o755)
    request = SweepRequest(tmp_path / "tiny.toml", "local", RunsPaths(tmp_path / "runs"))
    findings = {finding.name: finding for finding in run_checks(request, 0)}
    home = findings["home folder"]
    assert home.passed == (expected is None or not expected.startswith("over"))
    assert (expected or "GiB free") in home.message
    assert ("quota" in home.message) == (expected is not None)
    assert not findings["experiment"].passed  # the file is missing, and the other checks still run


def test_too_little_disk_space_fails(
    tmp_path: Path, write_experiment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.cli.doctor.MIN_FREE_GIB", 1e9)
    request = SweepRequest(write_experiment(), "local", RunsPaths(tmp_path / "runs"))
    failed = [finding.line() for finding in run_checks(request, 0) if not finding.passed]
    assert len(failed) == 2
    assert all("GiB free in" in line and "delete old files" in line for line in failed)
    assert list((tmp_path / "runs").glob(".doctor*")) == []


def test_clocks_that_differ_too_much_fail() -> None:
    assert compare_clocks(-1.25) == Finding("clocks", True, "1.2 s apart")
    assert (
        compare_clocks(-90.0)
        .line()
        .startswith(
            "✗ clocks: 90.0 s apart; times in logs will be misleading; tell the site's staff"
        )
    )


def test_what_the_site_chooses_is_called_its_default() -> None:
    cluster = Cluster.model_validate({"scheduler": "slurm", "account": "physics"})
    assert _resources(cluster) == "partition (the default), account physics, qos (the default)"
