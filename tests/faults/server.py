"""A real MLflow server, and a proxy before it that can fail, be slow or answer with an error."""

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
    """Run a server with a database and artifacts in `folder`; yield its port on 127.0.0.1."""
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
    """A proxy: a port that forwards connections to the server, depending on `mode`.

    Modes: `open`; `away` (connections are closed at once); `slow` (every connection waits first);
    `error` (every request is answered with status 500).
    """

    def __init__(self, port: int) -> None:
        """Listen on a free port."""
        self.mode = "open"
        self.broken = 0
        """How many connections were made in another mode than `open`."""
        self._server_port = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def uri(self) -> str:
        """MLflow's tracking URI through this proxy."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def become(self, mode: str) -> None:
        """Change the mode; open connections are closed."""
        self.mode = mode
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening."""
        self.become("away")
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._connections.add(client)
        with suppress(OSError), client:
            self.broken += self.mode != "open"
            if self.mode == "away":
                return
            if self.mode == "error":
                client.recv(_BUFFER)
                client.sendall(_ERROR)
                return
            if self.mode == "slow":
                time.sleep(SLOW_SECONDS)
            with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                answers = threading.Thread(target=_forward, args=(server, client), daemon=True)
                answers.start()
                _forward(client, server)
                answers.join()
        self._connections.discard(client)


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(_BUFFER):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    raise TimeoutError("the MLflow server did not start")
