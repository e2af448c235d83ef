"""MLflow's pages, served for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from sweeps.paths import RunsPaths
from sweeps.serve import serve
from sweeps.store import store_of
from sweeps.sweep import Sweep
from tests.listening import listening
from tests.sweeps.conftest import MakeSweep, worker_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, content: object = None) -> object:
    """An answer of MLflow's; waits until the server listens."""
    give_up = time.monotonic() + 90
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if content is None else json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except (ConnectionError, urllib.error.URLError):
            assert time.monotonic() < give_up
            time.sleep(0.2)


def status(port: int, host: str, origin: str = "") -> int:
    """What a browser is answered that believes the server to have this name."""
    headers = {"Host": f"{host}:{port}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 1}',
        headers=headers | ({"Origin": origin} if origin else {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_test_sees_who_listens_elsewhere() -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        assert ("0.0.0.0", everywhere.getsockname()[1]) in listening(os.getpid())


def test_ui_catches_up_and_serves_on_this_machine_alone(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=2)
    give_store(sweep)
    worker_of(sweep).work()
    port = free_port()
    command = [sys.executable, "-m", "sweeps", "ui", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--runs", str(sweep.paths.runs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        found = ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tiny")
        number = found["experiment"]["experiment_id"]
        runs = ask(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": [number]})["runs"]
        assert len(runs) == 3
        taken = listening(server.pid)
        assert ("127.0.0.1", port) in taken
        assert {host for host, _ in taken} == {"127.0.0.1"}
        assert status(port, "127.0.0.1") == status(port, "localhost") == 200
        assert status(port, "evil.example.org") == 403  # a name that was bent to this machine
        assert status(port, "127.0.0.1", origin="https://evil.example.org") == 403
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_a_server_elsewhere_is_only_named(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    serve(store_of(RunsPaths(make_sweep().paths.runs), None), 5000)
    assert "https://mlflow.example.org" in capsys.readouterr().out
