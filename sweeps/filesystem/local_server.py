"""A server for this machine only, run as a process until a person ends it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.text import duration, printable

START_SECONDS = 180.0
"""A server that does not answer for so long is ended: its imports take seconds, on a busy network
file system a minute."""
_POLL_SECONDS = 0.1
_LINES_SHOWN = 15
"""How many of a server's last lines are shown if it fails."""


@dataclass(frozen=True)
class ServerCommand:
    """How a server is started, and where it answers.

    Attributes:
        name: the server's name, at the beginning of messages.
        words: its command line.
        folder: where it runs.
        environment: its environment variables.
        port: its port on 127.0.0.1.
        log: the file that gets all that it prints; an earlier content is lost.
    """

    name: str
    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    port: int
    log: Path


class LocalServer:
    """A server that runs until it ends by itself or this process is asked to end.

    This process is asked to end by Ctrl-C, SIGTERM or the end of the terminal. The server is in a
    session of its own, so a signal of the terminal reaches only this process, which ends all
    processes of the server. MLflow's own pass SIGHUP on to nobody, and gunicorn only starts its
    workers again: it would serve after the terminal was closed.
    """

    def __init__(self, command: ServerCommand) -> None:
        """Start the server; the signals that end this process end the server from now on."""
        self._command = command
        self._is_asked_to_end = False
        self._group: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        with command.log.open("wb") as log:
            self._process = subprocess.Popen(
                command.words,
                cwd=command.folder,
                env=command.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._group = self._process.pid
        if self._is_asked_to_end:  # before there was a server
            self._end()

    def wait_until_it_answers(self, seconds: float = START_SECONDS) -> bool:
        """Wait until the server answers a request, whatever it answers.

        Returns:
            True if it does; False if this process is asked to end.

        Raises:
            EnvironmentFailure: it has ended, or does not answer in time and was ended.
        """
        deadline = time.monotonic() + seconds
        while not self._is_asked_to_end:
            self._check_running()
            if _answers(self._command.port):
                return not self._is_asked_to_end
            if time.monotonic() > deadline:
                self._end()
                self._process.wait()
                raise self._failure(f"has not answered for {duration(seconds)} and was ended")
            time.sleep(_POLL_SECONDS)
        return False

    def wait(self) -> None:
        """Wait until this process is asked to end and the server has ended.

        Raises:
            EnvironmentFailure: the server has ended by itself.
        """
        status = self._process.wait()
        if not self._is_asked_to_end:
            raise self._failure(f"ended with status {status}")

    def _check_running(self) -> None:
        status = self._process.poll()
        if status is not None and not self._is_asked_to_end:
            raise self._failure(f"ended with status {status} before it answered")

    def _end(self, *_: object) -> None:
        self._is_asked_to_end = True
        if self._group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGTERM)

    def _failure(self, what: str) -> EnvironmentFailure:
        """Print the last lines of the server's log; return the error, which has the last one."""
        with self._command.log.open(encoding="utf-8", errors="backslashreplace") as log:
            lines = deque((line.rstrip() for line in log if line.strip()), maxlen=_LINES_SHOWN)
        for line in list(lines)[:-1]:
            print(printable(line), file=sys.stderr)
        last = lines[-1].strip() if lines else "it says no reason"
        return EnvironmentFailure(f"{self._command.name} {what}: {last}")


def _answers(port: int) -> bool:
    """Return whether a server on 127.0.0.1 answers; a proxy of the environment is not asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def free_port(first: int) -> int:
    """Return the first free port of 127.0.0.1 from `first` on, among fifty.

    Raises:
        InputError: none of them is free.
    """
    last = min(first + 49, 65535)
    for port in range(first, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise InputError(f"no port from {first} to {last} is free; name another with --port")
