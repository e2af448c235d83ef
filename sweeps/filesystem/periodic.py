"""Calling a function periodically, from a thread, while a block of code runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def run_periodically(action: Callable[[], object], interval_seconds: float) -> Iterator[None]:
    """Call `action` every `interval_seconds` while the block runs; `action` must not raise."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval_seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
