"""`sweeps dashboard`, with a real optuna-dashboard."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.search import dashboard
from sweeps.search.dashboard import serve_dashboard
from sweeps.storage.sweep import Sweep
from tests.listening import listening
from tests.sweeps.conftest import MakeSweep, worker_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(port: int, path: str) -> bytes:
    """Return the answer to a request; wait until the server listens."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except (ConnectionError, urllib.error.URLError):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@contextmanager
def serving(sweep: Sweep, port: int, temporary: Path) -> Iterator["subprocess.Popen[str]"]:
    temporary.mkdir()
    command = [sys.executable, "-m", "sweeps", "dashboard", "tiny", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--runs", str(sweep.paths.runs.folder)],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        server.stdout.close()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_pages_show_every_trial_and_nothing_is_left_of_the_copy(
    make_sweep: MakeSweep, tmp_path: Path, sent: signal.Signals
) -> None:
    sweep, port = make_sweep("a?b %20#c", trials=5, pruner="none"), free_port()
    worker_of(sweep).run()
    with sweep.paths.study.open("ab") as study:
        study.write(b'{"op_code":')  # a writer was killed
    before = files(sweep.paths.folder)

    with serving(sweep, port, tmp_path / "temporary") as server:
        assert server.stdout.readline() == "optuna-dashboard is starting\n"
        assert server.stdout.readline() == "the study of tiny as it is now:\n"
        link = server.stdout.readline().strip()
        with urllib.request.urlopen(link, timeout=10) as answer:  # it answers when it is named
            assert answer.status == 200
        assert server.stdout.readline() == "press Ctrl-C to stop the server\n"
        studies = json.loads(fetch(port, "/api/studies"))["study_summaries"]
        assert [study["study_name"] for study in studies] == ["tiny"]
        found = json.loads(fetch(port, f"/api/studies/{studies[0]['study_id']}?after=0"))
        assert len(found["trials"]) == 5
        assert {host for host, _ in listening(server.pid)} == {"127.0.0.1"}
        assert link == f"http://127.0.0.1:{port}/dashboard/studies/{studies[0]['study_id']}"
        page = fetch(port, "/dashboard/studies/0").decode()
        scripts = [part.partition('"')[0] for part in page.split('src="')[1:]]
        assert scripts
        assert all(script.startswith("/static/") for script in scripts)  # none from elsewhere
        assert list((tmp_path / "temporary").iterdir())
        os.kill(server.pid, sent)
        assert server.wait(timeout=30) == 0

    assert list((tmp_path / "temporary").iterdir()) == []
    assert files(sweep.paths.folder) == before
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)


def test_without_the_package_one_line_says_what_to_do(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"pip install optuna-dashboard$"):
        serve_dashboard(make_sweep().paths, 8080)


def test_a_sweep_without_a_study_is_refused(make_sweep: MakeSweep) -> None:
    with pytest.raises(InputError, match="sweep tiny has no study yet"):
        serve_dashboard(make_sweep().paths, 8080)


def test_a_server_that_fails_gives_its_last_line(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    program = tmp_path / "program"
    program.write_text("raise SystemExit('no such → thing')\n", encoding="utf-8")
    monkeypatch.setattr(dashboard, "_program", lambda: program)
    kept = {number: signal.getsignal(number) for number in (2, 15, 1)}
    try:
        with pytest.raises(
            EnvironmentFailure,
            match=r"optuna-dashboard ended with status 1 before it answered: no such → thing$",
        ):
            serve_dashboard(sweep.paths, free_port())
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
