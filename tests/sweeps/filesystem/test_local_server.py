"""A server is waited for until it answers; one that fails is named with what it printed."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem.local_server import LocalServer, ServerCommand, free_port

Start = Callable[[str], LocalServer]
SERVING = "from http.server import *; HTTPServer(('127.0.0.1', {port}), {handler}).serve_forever()"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    kept = {number: signal.getsignal(number) for number in (2, 15, 1)}
    port = free_port(20_000 + os.getpid() % 10_000)

    def started(program: str) -> LocalServer:
        words = [sys.executable, "-c", program.replace("{port}", str(port))]
        command = ServerCommand("the server", words, tmp_path, os.environ, port, tmp_path / "log")
        return LocalServer(command)

    yield started
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("handler", ["SimpleHTTPRequestHandler", "BaseHTTPRequestHandler"])
def test_a_server_that_takes_a_while_is_waited_for(start: Start, handler: str) -> None:
    # The second one refuses every request: that is an answer, too.
    server = start(f"import time; time.sleep(0.5); {SERVING.replace('{handler}', handler)}")
    assert server.wait_until_it_answers()
    os.kill(os.getpid(), signal.SIGTERM)
    server.wait()


def test_a_request_to_end_ends_the_wait(start: Start) -> None:
    server = start("import time; time.sleep(100)")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert not server.wait_until_it_answers()
    server.wait()


def test_a_server_that_ends_before_it_answers_shows_its_last_lines(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start("print(*range(30), 'no such \\x1b place', sep='\\n'); raise SystemExit(3)")
    with pytest.raises(EnvironmentFailure) as error:
        server.wait_until_it_answers()
    message = "the server ended with status 3 before it answered: no such \x1b place"
    assert str(error.value) == message
    assert capsys.readouterr().err.split() == [str(number) for number in range(16, 30)]
    assert (tmp_path / "log").read_text().startswith("0\n1\n")


def test_a_server_that_never_answers_is_ended(start: Start) -> None:
    server = start("import time; print('busy', flush=True); time.sleep(100)")
    with pytest.raises(EnvironmentFailure, match=r"has not answered for 2 s and was ended: busy$"):
        server.wait_until_it_answers(seconds=2)


def test_a_server_that_ends_later_is_an_error(start: Start) -> None:
    server = start("raise SystemExit('enough')")
    with pytest.raises(EnvironmentFailure, match=r"the server ended with status 1: enough$"):
        server.wait()
