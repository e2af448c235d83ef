"""Keeping MLflow up with the folders, from a process that trains nothing."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.filesystem.lock import LockBusyError, LockLostError
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.text import one_line
from sweeps.tracking.store import Store, acquire_lease, lease_holder, resolve_store

INTERVAL_SECONDS = 5.0


def store_of_sweep(sweep: Sweep) -> Store:
    """The store that a sweep is published to."""
    return resolve_store(sweep.paths.runs, sweep.plan.cluster.tracking)


def publish_once(sweep: Sweep) -> str | None:
    """Bring MLflow up to what the folders say; where that is not possible now, say why.

    Whatever is wrong with a store, its driver or the way to it: what is not sent stays in the
    folders, and the next time sends it.
    """
    from sweeps.tracking.publisher import Publisher, error_line  # noqa: PLC0415 (seconds to import)

    store = store_of_sweep(sweep)
    if not acquire_lease(store):
        where = f"{store.runs.database} is written to from {lease_holder(store)}"
        return f"{where}; to do it from here: sweeps sync --take-over"
    try:
        with store.lock().hold() as turn:
            problems = Publisher(sweep, store).publish(turn)
    except (LockBusyError, LockLostError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (MLflow lets its drivers' many kinds of error through)
        return f"{type(error).__name__}: {error_line(error)}"
    where = f"{store.runs.database}: " if store.is_database_here else ""
    return where + "; ".join(dict.fromkeys(problems)) if problems else None


def publish_until_terminated(folder: Path) -> None:
    """Publish a sweep every few seconds; at SIGTERM, or once the parent is gone, end.

    At SIGTERM everything is published once more first.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    for number in (signal.SIGUSR2, signal.SIGINT):  # meant for others of the same job or terminal
        signal.signal(number, signal.SIG_IGN)
    parent, said = os.getppid(), None
    while os.getppid() == parent:
        last = ended.is_set()
        problem = publish_once(open_sweep(SweepPaths(folder)))
        if problem is not None and problem != said:
            print(f"not published: {one_line(problem)}", flush=True)
        said = problem
        if last:
            return
        ended.wait(INTERVAL_SECONDS)


@contextmanager
def publishing(sweep: Sweep) -> Iterator[None]:
    """Publish from a process beside this one while the block runs, and once more at its end.

    For a watcher on the host that writes to the store, where the jobs run on others.
    """
    command = [sys.executable, "-m", "sweeps", "publish", str(sweep.paths.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # the next publication sends what is missing
            process.kill()
            process.wait()


def forget_publication(sweep: Sweep) -> None:
    """Have the next publication send everything again (into an empty store, say)."""
    with store_of_sweep(sweep).lock().hold():
        for trial in sweep.paths.trials():
            trial.mlflow.unlink(missing_ok=True)
        sweep.paths.mlflow.unlink(missing_ok=True)
