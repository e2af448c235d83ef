"""Keeping MLflow up with the folders, from a process that trains nothing."""

import signal
import threading
from pathlib import Path

from sweeps.lock import LockBusyError
from sweeps.paths import RunsPaths, SweepPaths
from sweeps.store import Store, holder, is_ours, store_of
from sweeps.sweep import Sweep, open_sweep

EVERY_SECONDS = 5.0


def store_for(sweep: Sweep) -> Store:
    """The store that a sweep is published to."""
    return store_of(RunsPaths(sweep.paths.runs), sweep.plan.cluster.tracking)


def publish_once(sweep: Sweep) -> str | None:
    """Bring MLflow up to what the folders say; where that is not possible now, say why."""
    from sweeps.tracking import Publisher, publish_quietly  # noqa: PLC0415 (seconds to import)

    store = store_for(sweep)
    if not is_ours(store):
        return (
            f"{store.runs.database} is written to from {holder(store)}; --take-over moves it here"
        )
    try:
        with store.lock().hold():
            return publish_quietly(lambda: Publisher(sweep, store))
    except LockBusyError as error:
        return str(error)


def publish_until_told(folder: Path) -> None:
    """Publish a sweep every few seconds; at SIGTERM once more, and end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    said = None
    while True:
        last = ended.is_set()
        problem = publish_once(open_sweep(SweepPaths(folder)))
        if problem is not None and problem != said:
            print(f"not published: {problem}", flush=True)
        said = problem
        if last:
            return
        ended.wait(EVERY_SECONDS)


def forget_published(sweep: Sweep) -> None:
    """Have the next publication send everything again (into an empty store, say)."""
    with store_for(sweep).lock().hold():
        for trial in sweep.paths.trials():
            trial.mlflow.unlink(missing_ok=True)
        sweep.paths.mlflow.unlink(missing_ok=True)
