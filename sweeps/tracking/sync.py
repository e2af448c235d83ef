"""Keeps MLflow up to date with the sweep's folders, from a process that trains nothing."""

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
from sweeps.tracking.access import why_not_writable
from sweeps.tracking.store import Store, resolve_store

INTERVAL_SECONDS = 5.0


def store_of_sweep(sweep: Sweep) -> Store:
    """Return the store to which a sweep is published."""
    return resolve_store(sweep.paths.runs, sweep.plan.cluster.tracking)


def publish_once(sweep: Sweep) -> str | None:
    """Bring MLflow up to date with the sweep's folders.

    It does not fail if the store, its driver or the network does: what was not published stays in
    the folders, and the next call publishes it.

    Returns:
        Why something was not published; None if everything was.
    """
    from sweeps.tracking.publisher import Publisher, error_line  # noqa: PLC0415 (seconds to import)

    store = store_of_sweep(sweep)
    if (refusal := why_not_published(sweep, store)) is not None:
        return refusal
    try:
        with store.lock().hold() as turn:
            problems = Publisher(sweep, store).publish(turn)
    except (LockBusyError, LockLostError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (MLflow passes on many kinds of error of its drivers)
        return f"{type(error).__name__}: {error_line(error, store)}"
    where = f"{store.runs.database}: " if store.is_database_here else ""
    return where + "; ".join(dict.fromkeys(problems)) if problems else None


def why_not_published(sweep: Sweep, store: Store) -> str | None:
    """Return why this process may not publish the sweep; None if it may."""
    if not os.access(sweep.paths.folder, os.W_OK):
        return f"this user may not write to {sweep.paths.folder}"
    return why_not_writable(store)


def publish_command(paths: SweepPaths) -> list[str]:
    """Return the command that publishes a sweep until this process ends or stops it."""
    command = [sys.executable, "-m", "sweeps", "publish", str(paths.folder)]
    return [*command, "--parent", str(os.getpid())]


def publish_until_terminated(folder: Path, parent: int) -> None:
    """Publish a sweep every few seconds until SIGTERM, or until the parent process has ended.

    After SIGTERM it publishes once more and then returns. A problem is printed when it begins.

    Args:
        folder: the sweep's.
        parent: the id of the process that started this one. It is given, not looked up: a parent
            that was killed while this process started has another number in its place.
    """
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    # These two are for other processes of the same job or terminal.
    for number in (signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    printed = None
    while os.getppid() == parent:
        is_last = terminated.is_set()
        problem = publish_once(open_sweep(SweepPaths(folder)))
        if problem is not None and problem != printed:
            print(f"not published: {one_line(problem)}", flush=True)
        printed = problem
        if is_last:
            return
        terminated.wait(INTERVAL_SECONDS)


@contextmanager
def publishing(sweep: Sweep) -> Iterator[None]:
    """Publish from another process while the block runs, and once more at its end.

    It is for a watcher on the host that writes to the store, when the jobs run on other hosts.
    """
    process = subprocess.Popen(
        publish_command(sweep.paths), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # the next publication adds what is missing
            process.kill()
            process.wait()


def forget_publication(sweep: Sweep) -> None:
    """Make the next publication send everything again, to an empty store for example."""
    with store_of_sweep(sweep).lock().hold():
        for trial in sweep.paths.trials():
            trial.mlflow.unlink(missing_ok=True)
        sweep.paths.mlflow.unlink(missing_ok=True)
