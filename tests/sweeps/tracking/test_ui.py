"""`sweeps ui`, with a real MLflow server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import mlflow.server
import pytest

from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_result
from sweeps.tracking.gunicorn_config import OPENED_ONCE, SCRIPT
from sweeps.tracking.project_link import link_project
from sweeps.tracking.shared_view import decode_view
from sweeps.tracking.store import resolve_store
from sweeps.tracking.sync import publish_once
from sweeps.tracking.ui import serve
from tests.listening import listening
from tests.sweeps.conftest import MakeSweep, worker_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, content: object = None) -> object:
    """Return MLflow's answer to a request; wait until the server listens."""
    deadline = time.monotonic() + 90
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
            assert time.monotonic() < deadline
            time.sleep(0.2)


def status(port: int, host: str, origin: str = "") -> int:
    """Return the HTTP status that a browser gets if it reached the server under this host name."""
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


def trials_shown(port: int, output: str) -> list[float]:
    """Return the objectives of the trials on the page that `sweeps ui` prints, in its order."""
    link = next(word for word in output.split() if "/#/experiments/" in word)
    page = urllib.parse.urlsplit(urllib.parse.urlsplit(link).fragment)
    number, key = page.path.split("/")[2], urllib.parse.parse_qs(page.query)["viewStateShareKey"][0]
    found = ask(port, f"/api/2.0/mlflow/experiments/get?experiment_id={number}")
    tags = {tag["key"]: tag["value"] for tag in found["experiment"]["tags"]}
    view = decode_view(tags[f"mlflow.sharedViewState.{key}"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    search = {"experiment_ids": [number], "filter": view["searchFilter"]}
    runs = ask(port, "/api/2.0/mlflow/runs/search", search | {"order_by": [order]})["runs"]
    metrics = [{m["key"]: m["value"] for m in run["data"]["metrics"]} for run in runs]
    return [each["objective"] for each in metrics]


def assistant_status(port: int) -> int:
    """Return the HTTP status of a request for the settings of MLflow's assistant."""
    try:
        page = "ajax-api/3.0/mlflow/assistant/config"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def front_page(port: int, headers: dict[str, str]) -> tuple[str, str]:
    """Return MLflow's page, and its ETag, as a browser gets them."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
        assert int(answer.headers["Content-Length"]) == len(text.encode())
        return text, answer.headers.get("ETag", "")


def assert_assistant_stays_closed(port: int) -> None:
    """Check that the page tells MLflow's program, before it starts, that the panel was shown."""
    build = Path(mlflow.server.__file__).parent / "js/build"
    plain = (build / "index.html").read_text(encoding="utf-8")
    text, etag = front_page(port, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"})
    assert text.replace(SCRIPT.decode(), "", 1) == plain
    assert 0 < text.index(SCRIPT.decode()) < text.index("<script defer")
    assert etag == ""  # a browser must not take the page of a plain `mlflow ui` for this one
    programs = (file.read_text(encoding="utf-8") for file in build.glob("static/js/main.*.js"))
    key = OPENED_ONCE.removesuffix("_v1")
    assert any(f'"{key}",version:1,' in program for program in programs)


def printed(output: Path, server: "subprocess.Popen[bytes]") -> list[str]:
    """Return the lines of `sweeps ui` when it has printed how to stop it."""
    deadline = time.monotonic() + 90
    while "Ctrl-C" not in output.read_text():
        assert server.poll() is None, output.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return output.read_text().splitlines()


def test_listening_finds_a_port_that_is_open_to_other_machines() -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        assert ("0.0.0.0", everywhere.getsockname()[1]) in listening(os.getpid())


def test_ui_publishes_what_is_missing_and_listens_on_127_0_0_1_only(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], tmp_path: Path
) -> None:
    sweep, output = make_sweep("a?b %20#c", trials=3, pruner="none"), tmp_path / "output"
    give_store(sweep)
    worker_of(sweep).run()
    port = free_port()
    command = [sys.executable, "-m", "sweeps", "ui", "--port", str(port)]
    with output.open("w") as out:
        server = subprocess.Popen(
            [*command, "--runs", str(sweep.paths.runs.folder)],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        shown = printed(output, server)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200  # no second try: a link that is printed can be opened
        found = ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tiny")
        number = found["experiment"]["experiment_id"]
        runs = ask(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": [number]})["runs"]
        assert len(runs) == 4
        results = [read_result(trial).value for trial in sweep.paths.trials()]
        assert trials_shown(port, output.read_text()) == sorted(results, reverse=True) != results
        sockets = listening(server.pid)
        assert ("127.0.0.1", port) in sockets
        assert {host for host, _ in sockets} == {"127.0.0.1"}
        assert status(port, "127.0.0.1") == status(port, "localhost") == 200
        assert status(port, "evil.example.org") == 403  # DNS rebinding: a name for this machine
        assert status(port, "127.0.0.1", origin="https://evil.example.org") == 403
        assert_assistant_stays_closed(port)
        assert assistant_status(port) == 404  # it would run commands for every user of this machine
    finally:
        os.killpg(server.pid, signal.SIGHUP)  # as a terminal does that is closed
        assert server.wait(timeout=30) == 0
    log = sweep.paths.runs.server_log(port)
    assert log.read_text() != ""
    at = shown.index("MLflow is starting; all that its server prints:")
    assert shown[at + 1 : at + 4] == [f"  {log}", "MLflow:", f"  http://127.0.0.1:{port}"]
    assert output.read_text().splitlines() == shown
    assert shown[-1] == "press Ctrl-C to stop the server"  # and nothing of MLflow's own
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10)


def test_of_a_remote_store_only_the_address_is_printed(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    serve(resolve_store(make_sweep().paths.runs, None), 5000)
    assert "\n  https://mlflow.example.org" in capsys.readouterr().out


def test_plain_mlflow_ui_in_the_project_shows_the_runs_and_writes_nothing(
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPS_RUNS", raising=False)
    sweep = make_sweep(trials=2, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    store = resolve_store(sweep.paths.runs, None)
    assert link_project(store) is None
    store.runs.lease.write_text('{"host": "login2"}')  # another host publishes

    def files() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}

    before, port = files(), free_port()
    command = [sys.executable, "-W", "ignore", "-m", "mlflow", "ui", "--port", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        found = ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tiny")
        number = found["experiment"]["experiment_id"]
        runs = ask(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": [number]})["runs"]
        assert {run["info"]["run_name"] for run in runs} == {
            "tiny",
            *(trial.name for trial in sweep.paths.trials()),
        }
        for run in runs:
            listed = ask(port, f"/api/2.0/mlflow/artifacts/list?run_id={run['info']['run_id']}")
            assert listed["files"]
        assert assistant_status(port) == 200  # docs/security.md warns of it
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
    assert files() == before
