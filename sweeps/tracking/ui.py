"""Serves MLflow's pages on 127.0.0.1 only.

MLflow has two servers. Its default server includes an assistant with a tool that runs shell
commands as the user who started the server. Everybody who can reach 127.0.0.1 can use it, and on a
login node that is every user. The other server, under gunicorn, has only the pages and the tracking
API. This module starts the second one.
"""

import os
import socket
import sys

from sweeps.errors import InputError
from sweeps.tracking.publisher import create_database
from sweeps.tracking.store import Store, acquire_lease, lease_holder


def serve_ui(store: Store, port: int, page: str = "") -> None:
    """Replace this process by MLflow's server on 127.0.0.1; of a remote store, print the address.

    Args:
        store: the store to serve.
        port: the port, or the first of the ports to try.
        page: the path of the page with the latest sweep's trials; empty if there is none.

    Raises:
        InputError: none of the ports is free, or another host may write to the database.
    """
    if not store.is_database_here:
        _print_address(store.uri, page)
        return
    store.runs.folder.mkdir(parents=True, exist_ok=True)
    if not acquire_lease(store):
        holder = f"only host {lease_holder(store)} may write to {store.runs.database}"
        raise InputError(f"{holder}; start the server there, or first: sweeps sync --take-over")
    if not store.runs.database.exists():
        with store.lock().hold():
            create_database(store)
    free = _free_port(port)
    if free != port:
        print(f"port {port} is in use; using {free}")
    _print_address(f"http://127.0.0.1:{free}", page)
    print("press Ctrl-C to stop the server", flush=True)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # These jobs are for MLflow's evaluation of language models, which is not used here.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-W", "ignore::FutureWarning", "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(free), "--workers", "1"]
    command += ["--gunicorn-opts", "--threads 8 --no-control-socket --log-level warning"]
    command += ["--backend-store-uri", store.uri]
    command += ["--default-artifact-root", str(store.runs.artifacts)]
    os.execv(sys.executable, command)  # noqa: S606 (so signals and exit status are the server's)


def _print_address(address: str, page: str) -> None:
    print(f"MLflow: {address}")
    if page:
        print(f"trials of the latest sweep, best first: {address.rstrip('/')}{page}")


def _free_port(first: int) -> int:
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
