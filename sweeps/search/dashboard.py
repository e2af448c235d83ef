"""Serves optuna-dashboard for a copy of a study, on 127.0.0.1 only.

Its pages can rename and delete a study, and its lock would be a file beside the journal. So it gets
a copy, in a temporary folder. It is a program of its own: Optuna is not imported here.
"""

import os
import sys
import tempfile
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.local_server import LocalServer, ServerCommand, free_port
from sweeps.storage.paths import SweepPaths
from sweeps.text import on_own_line

_STUDY_PAGE = "dashboard/studies/0"  # a journal's first study has the number 0


def serve_dashboard(paths: SweepPaths, port: int) -> None:
    """Serve a sweep's study as it is now until Ctrl-C, SIGTERM or the end of the terminal.

    Args:
        paths: the sweep; nothing is written into its folder.
        port: the port, or the first of the ports to try.

    Raises:
        InputError: optuna-dashboard is not installed, the sweep has no study yet, or no port is
            free.
        EnvironmentFailure: the study cannot be copied, or the server failed.
    """
    program, journal = _program(), _whole_lines(paths)
    free = free_port(port)
    try:
        folder = tempfile.TemporaryDirectory(prefix="sweeps-dashboard-")
    except OSError as error:
        raise _no_place(error) from error
    with folder:
        copy, log = Path(folder.name) / paths.study.name, Path(folder.name) / "log"
        try:
            copy.write_bytes(journal)
        except OSError as error:
            raise _no_place(error) from error
        if free != port:
            print(f"port {port} is in use; using {free}")
        print("optuna-dashboard is starting", flush=True)
        words = [sys.executable, str(program), str(copy), "--host", "127.0.0.1"]
        # gunicorn, the other server, cannot be told to open no control socket.
        words += ["--port", str(free), "--server", "wsgiref"]
        server = LocalServer(
            ServerCommand("optuna-dashboard", words, copy.parent, os.environ, free, log)
        )
        if server.wait_until_it_answers():
            link = f"http://127.0.0.1:{free}/{_STUDY_PAGE}"
            print(on_own_line(f"the study of {paths.name} as it is now", link))
            print("press Ctrl-C to stop the server", flush=True)
        server.wait()


def _program() -> Path:
    """Return the program of this environment.

    Raises:
        InputError: it is not installed.
    """
    program = Path(sys.executable).parent / "optuna-dashboard"
    if not program.exists():
        raise InputError(
            f"optuna-dashboard is not installed (there is no {program}); install it with: "
            f"{sys.executable} -m pip install optuna-dashboard"
        )
    return program


def _whole_lines(paths: SweepPaths) -> bytes:
    """Return the journal without the partial last line of a running or killed writer.

    Raises:
        InputError: there is no study yet.
        EnvironmentFailure: it cannot be read.
    """
    try:
        content = paths.study.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise EnvironmentFailure(f"{paths.study} cannot be read ({error.strerror})") from error
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        raise InputError(f"sweep {paths.name} has no study yet; it begins with the first trial")
    return whole


def _no_place(error: OSError) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"the temporary folder has no place for a copy of the study ({error}); set $TMPDIR to "
        "another folder"
    )
