"""The study's journal: Optuna's file format, safe against partial lines and lost locks.

Optuna's own file backend keeps the partial line of a killed writer, and the next append writes onto
the same line: from then on the study cannot be read. Its lock can be released by a process that
does not hold it. Here an append first removes a partial line (its write had not returned, so
nothing depends on it), under a lock whose turns cannot be confused. Stock Optuna and its dashboard
can still read the file.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock


class Journal:
    """A log of JSON objects, one per line; has the methods of Optuna's `BaseJournalBackend`."""

    def __init__(self, path: Path, lock: Lock) -> None:
        """Open the journal at `path`, created if missing; entries are appended under `lock`."""
        self._path = path
        self._lock = lock
        self._read = (0, 0)  # the number of the first line not read yet, and its byte offset
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from number `log_number_from` on; a partial last line is ignored."""
        number, offset = self._read if self._read[0] <= log_number_from else (0, 0)
        with self._path.open("rb") as file:
            file.seek(offset)
            content = file.read()
        for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            number, offset = number + 1, offset + len(line)
            if number > log_number_from:
                yield json.loads(line)
        self._read = (number, offset)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries; each is a complete line on disk or does not exist.

        Raises:
            LockBusyError: other processes held the lock for too long.
            LockLostError: another process has passed this one over while it was stopped.
        """
        with self._lock.hold() as turn:
            # O_APPEND: a holder that was stopped until its turn had passed then writes after its
            # successor's entries, not over them (on NFS the server does not guarantee that).
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND)
            try:
                end = atomic.truncate_partial_line(handle)
                for log in logs:
                    line = (json.dumps(log, separators=(",", ":")) + "\n").encode()
                    turn.check()
                    end = atomic.write_all(handle, line, end)
            finally:
                os.close(handle)
