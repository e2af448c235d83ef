"""A server for this machine only, run as a process until a person ends it."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from sweeps.errors import InputError


def run_server(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    stderr: IO[bytes] | None = None,
) -> int:
    """Run a server until it ends by itself or this process is asked to end.

    This process is asked to end by Ctrl-C, SIGTERM or the end of the terminal. The server is in a
    session of its own, so a signal of the terminal reaches only this process, which ends all
    processes of the server. MLflow's own pass SIGHUP on to nobody, and gunicorn only starts its
    workers again: it would serve after the terminal was closed.

    Args:
        command: the server's command line.
        folder: where it runs.
        environment: its environment variables.
        stderr: where its messages go; None for those of this process.

    Returns:
        The exit status: 0 if the server was asked to end, otherwise the server's.
    """
    server: subprocess.Popen[bytes] | None = None
    is_asked_to_end = False

    def end(*_: object) -> None:
        nonlocal is_asked_to_end
        is_asked_to_end = True
        if server is not None:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=stderr, start_new_session=True
    )
    if is_asked_to_end:  # before there was a server
        end()
    status = server.wait()
    return 0 if is_asked_to_end else status


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
