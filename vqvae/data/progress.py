"""Progress of long work: a progress bar on a terminal, one plain line elsewhere."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield `items`, and show on standard error how many of `total` are done."""
    width = shutil.get_terminal_size().columns
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or width < 60:
        print(f"{what}: {total}", file=sys.stderr, flush=True)
        yield from items
        return
    # Imported here, because workers write to a log and never need it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track as bar  # noqa: PLC0415

    yield from bar(items, what, total, console=Console(stderr=True), transient=True)
