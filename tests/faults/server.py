"""A real MLflow server, and before it a line that can be cut, slow, or answer with an error."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SLOW_SECONDS = 1.5
_BUFFER = 1 << 16
_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n"
    b"Content-Type: application/json\r\nConnection: close\r\n\r\n{}"
)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """A server with a database and artifacts in `folder`; gives its port on 127.0.0.1."""
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(port, process)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Line:
    """A port that leads to the server's, as well as `mode` lets it.

    Modes: `open`; `away` (nobody answers); `slow` (every connection waits first); `error` (every
    request is answered with status 500).
    """

    def __init__(self, port: int) -> None:
        """Listen on a free port."""
        self.mode = "open"
        self.broken = 0
        """How many connections did not get through as they should."""
        self._to = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._living: set[socket.socket] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def uri(self) -> str:
        """MLflow's tracking URI by this line."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def become(self, mode: str) -> None:
        """Change the mode; what was connected is cut off."""
        self.mode = mode
        for living in list(self._living):
            with suppress(OSError):
                living.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more."""
        self.become("away")
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                here, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        self._living.add(here)
        with suppress(OSError), here:
            self.broken += self.mode != "open"
            if self.mode == "away":
                return
            if self.mode == "error":
                here.recv(_BUFFER)
                here.sendall(_ERROR)
                return
            if self.mode == "slow":
                time.sleep(SLOW_SECONDS)
            with socket.create_connection(("127.0.0.1", self._to)) as there:
                back = threading.Thread(target=_pump, args=(there, here), daemon=True)
                back.start()
                _pump(here, there)
                back.join()
        self._living.discard(here)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(_BUFFER):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as said:
            if said.status == 200:
                return
        time.sleep(0.2)
    raise TimeoutError("the MLflow server did not start")
