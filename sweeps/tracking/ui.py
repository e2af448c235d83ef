"""Serving MLflow's pages, to this machine alone.

MLflow has two servers. The one it starts by itself has an assistant, too, with a tool that runs
shell commands as the user who started the server, for anybody who can reach 127.0.0.1: on a login
node that is every user. The other one, under gunicorn, has the pages and the tracking alone.
"""

import os
import socket
import sys

from sweeps.errors import InputError
from sweeps.tracking.publisher import create_database
from sweeps.tracking.store import Store, acquire_lease, lease_holder


def serve_ui(store: Store, port: int, page: str = "") -> None:
    """Turn this process into MLflow's server on 127.0.0.1; a server elsewhere is only named.

    Args:
        store: what is served.
        port: on which port, or the next free one.
        page: what follows the server's address where the latest sweep's trials are shown.

    Raises:
        InputError: no port from `port` on is free, or another host writes to the database.
    """
    if not store.is_database_here:
        _say(store.uri, page)
        return
    store.runs.folder.mkdir(parents=True, exist_ok=True)
    if not acquire_lease(store):
        where = f"{store.runs.database} is written to from {lease_holder(store)}"
        raise InputError(f"{where}; serve it there, or first: sweeps sync --take-over")
    if not store.runs.database.exists():
        with store.lock().hold():
            create_database(store)
    free = _free_port(port)
    if free != port:
        print(f"port {port} is taken; {free} is free")
    _say(f"http://127.0.0.1:{free}", page)
    print("Ctrl-C ends it", flush=True)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # of its judges of language models
    command = [sys.executable, "-W", "ignore::FutureWarning", "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(free), "--workers", "1"]
    command += ["--gunicorn-opts", "--threads 8 --no-control-socket --log-level warning"]
    command += ["--backend-store-uri", store.uri]
    command += ["--default-artifact-root", str(store.runs.artifacts)]
    os.execv(sys.executable, command)  # noqa: S606 (its signals and exit status are the server's)


def _say(address: str, page: str) -> None:
    print(f"MLflow: {address}")
    if page:
        print(f"the latest sweep's trials, the best first: {address.rstrip('/')}{page}")


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
    raise InputError(f"no free port between {first} and {last}; give another with --port")
