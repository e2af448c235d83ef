"""What `sweeps doctor` says where there is no SLURM: rooms, quotas, clocks, tracking servers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.cli.doctor import compare_clocks, run_checks
from sweeps.cli.doctor_checks import Finding, check_tracking_server, run_check
from sweeps.jobs.start import SweepRequest
from sweeps.storage.paths import RunsPaths


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an MLflow server that answers to 127.0.0.1 and to no other name."""
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
        give_up = time.monotonic() + 120
        while not answers(port):
            assert time.monotonic() < give_up, (folder / "log").read_text()
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


def test_a_tracking_server_that_answers_and_one_that_refuses_the_name(server: int) -> None:
    asked = f"http://127.0.0.1:{server}"
    assert run_check("tracking store", lambda: check_tracking_server(asked)) == Finding(
        "tracking store", True, f"{asked} answers"
    )
    refused = run_check(
        "tracking store", lambda: check_tracking_server(f"http://localhost:{server}/")
    )
    assert not refused.passed
    assert (
        "answers 403: it refuses this host name; start it with --allowed-hosts" in refused.message
    )
    assert not run_check("", lambda: check_tracking_server(f"{asked}/elsewhere")).passed


def test_a_tracking_server_that_is_away_is_one_line_with_the_mend() -> None:
    said = run_check(
        "tracking store", lambda: check_tracking_server(f"http://127.0.0.1:{free_port()}")
    ).line()
    assert said.startswith("✗ tracking store: http://127.0.0.1:")
    assert "does not answer ([Errno 111] Connection refused); start it" in said
    assert "\n" not in said
    assert not run_check("", lambda: check_tracking_server("http://no-such-host.invalid")).passed


def test_a_server_named_by_the_environment_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert check_tracking_server(None) == "a database among the runs; nothing to reach"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert not run_check("", lambda: check_tracking_server(None)).passed


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Disk quotas for user ada (uid 7):\nFilesystem space quota limit\n"
         "server:/home\n      12G     16G     17G     140k       0       0\n", "12G of 16G used"),
        ("Disk quotas:\n  fs space quota limit\n  /dev/sda1 900M 0K 16G 1 0 0\n", "900M of 16G"),
        ("Disk quotas for user ada (uid 7): none\n", None),
        ("  fs space quota limit grace\n  /dev/sda1 17G* 16G 18G 6days 1 0 0\n", "over quota: 17G"),
    ],
)  # fmt: skip
def test_a_quota_is_said_and_one_that_is_used_up_is_a_cross(
    said: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "answer").write_text(said)
    (tmp_path / "quota").write_text(f"#!/bin/bash\ncat {tmp_path}/answer\n")
    (tmp_path / "quota").chmod(0o755)
    request = SweepRequest(tmp_path / "tiny.toml", "local", RunsPaths(tmp_path / "runs"))
    findings = {finding.name: finding for finding in run_checks(request, 0)}
    home = findings["home"]
    assert home.passed == (expected is None or not expected.startswith("over"))
    assert (expected or "GiB free") in home.message
    assert ("quota" in home.message) == (expected is not None)
    assert not findings["experiment"].passed  # there is none, and all else is looked at


def test_too_little_room_is_a_cross(
    tmp_path: Path, write_experiment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.cli.doctor.ROOM_GIB", 1e9)
    request = SweepRequest(write_experiment(), "local", RunsPaths(tmp_path / "runs"))
    crosses = [finding.line() for finding in run_checks(request, 0) if not finding.passed]
    assert len(crosses) == 2
    assert all("GiB free in" in line and "delete what is old" in line for line in crosses)
    assert list((tmp_path / "runs").glob(".doctor*")) == []


def test_clocks_that_differ_are_a_cross() -> None:
    assert compare_clocks(-1.25) == Finding("clocks", True, "1.2 s apart")
    assert compare_clocks(-90.0).line().startswith("✗ clocks: 90.0 s apart; tell the site's staff")
