"""Serves MLflow's pages on 127.0.0.1 only.

MLflow has two servers. Its default server includes an assistant with a tool that runs shell
commands as the user who started the server. Everybody who can reach 127.0.0.1 can use it, and on a
login node that is every user. The other server, under gunicorn, has only the pages and the tracking
API. This module starts the second one.
"""

import os
import shlex
import sys
from pathlib import Path

from sweeps.filesystem.local_server import LocalServer, ServerCommand, free_port
from sweeps.text import on_own_line, printable
from sweeps.tracking.publisher import create_database
from sweeps.tracking.store import SQLITE, Store

_CONFIG = shlex.quote(str(Path(__file__).with_name("gunicorn_config.py")))
"""Gunicorn's configuration, as a word of a command line."""


def prepare_database(store: Store) -> None:
    """Create the local database if it is missing."""
    if store.is_database_here and not store.runs.database.exists():
        store.runs.folder.mkdir(parents=True, exist_ok=True)
        with store.lock().hold():
            create_database(store)


def serve(store: Store, port: int, page: str = "") -> None:
    """Serve a store on 127.0.0.1 until Ctrl-C, SIGTERM or the end of the terminal.

    The links are printed as soon as the server answers. Of a remote store only they are printed.

    Args:
        store: the store to serve; its database, or the copy of it, exists.
        port: the port, or the first of the ports to try.
        page: the path of the page with the latest sweep's trials; empty if there is none.

    Raises:
        InputError: none of the ports is free.
        EnvironmentFailure: the server does not answer, or ended by itself.
    """
    if not store.is_database_here:
        _print_address(store.name, page)
        return
    free = free_port(port)
    if free != port:
        print(f"port {port} is in use; using {free}")
    log = _log(store, free)
    print(printable(on_own_line("MLflow is starting; all that its server prints", str(log))))
    # The folder's path may have characters that MLflow does not accept.
    folder = (store.copy or store.runs.database).parent
    words = _server_command(store, free)
    server = LocalServer(ServerCommand("MLflow's server", words, folder, _environment(), free, log))
    if server.wait_until_it_answers():
        _print_address(f"http://127.0.0.1:{free}", page)
        print("press Ctrl-C to stop the server", flush=True)
    server.wait()


def _log(store: Store, port: int) -> Path:
    """Return the file for what the server prints: beside a copy, if it serves one."""
    if store.copy is not None:
        return store.copy.with_name("server.log")
    log = store.runs.server_log(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def _server_command(store: Store, port: int) -> list[str]:
    """Return the server's command, for the folder of the database."""
    command = [sys.executable, "-W", "ignore::FutureWarning", "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    options = f"--threads 8 --no-control-socket --log-level warning --config {_CONFIG}"
    command += ["--gunicorn-opts", options]
    database = f"{SQLITE}{store.runs.database.name}"
    command += ["--backend-store-uri", database, "--registry-store-uri", database]
    return [*command, "--default-artifact-root", store.runs.artifacts.as_uri()]


def _environment() -> dict[str, str]:
    # These jobs are for MLflow's evaluation of language models, which is not used here.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"} | os.environ
    return quiet | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _print_address(address: str, page: str) -> None:
    print(on_own_line("MLflow", address))
    if page:
        link = f"{address.rstrip('/')}{page}&compareRunsMode="
        print(on_own_line("trials of the latest sweep, best first", f"{link}TABLE"))
        print(on_own_line("the same as charts", f"{link}CHART"))
