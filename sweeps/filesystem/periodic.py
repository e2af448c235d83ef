"""Something done again and again beside a block of work, from a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def run_periodically(action: Callable[[], object], interval_seconds: float) -> Iterator[None]:
    """Do `act` after every so many seconds while the block runs; it must not raise."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(interval_seconds):
            action()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
