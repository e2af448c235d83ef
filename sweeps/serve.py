"""Serving MLflow's pages, to this machine alone."""

import os
import socket
import sys

from sweeps.errors import InputError
from sweeps.store import Store, holder, is_ours


def serve(store: Store, port: int) -> None:
    """Turn this process into MLflow's server on 127.0.0.1; a server elsewhere is only named.

    Raises:
        InputError: no port from `port` on is free, or another host writes to the database.
    """
    if not store.is_database_here:
        print(f"MLflow: {store.uri}")
        return
    store.runs.folder.mkdir(parents=True, exist_ok=True)
    if not is_ours(store):
        where = f"{store.runs.database} is written to from {holder(store)}"
        raise InputError(f"{where}; serve it there, or first: sweeps sync --take-over")
    if not store.runs.database.exists():
        from sweeps.tracking import make_database  # noqa: PLC0415 (seconds to import)

        with store.lock().hold():
            make_database(store)
    free = _free_port(port)
    if free != port:
        print(f"port {port} is taken; {free} is free")
    print(f"MLflow: http://127.0.0.1:{free} (Ctrl-C ends it)", flush=True)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(free)]
    command += ["--backend-store-uri", store.uri, "--workers", "1"]
    command += ["--default-artifact-root", str(store.runs.artifacts)]
    os.execv(sys.executable, command)  # noqa: S606 (its signals and exit status are the server's)


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
