"""The study's journal: Optuna's file format, safe against half lines and robbed locks.

Optuna's own file backend keeps a half line that a killed writer left, and the next append welds
itself to it: from then on the study cannot be read. Its lock frees whoever holds it. Here an
append first removes what an unfinished one left (nobody was ever told of it), under a lock whose
turns cannot be confused. The file stays one that stock Optuna and its dashboard read.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock


class Journal:
    """A log of JSON objects, one a line; fits Optuna's `BaseJournalBackend` by shape."""

    def __init__(self, path: Path, lock: Lock) -> None:
        """Open the journal at `path`, made where it is not there, appended to under `lock`."""
        self._path = path
        self._lock = lock
        self._known = (0, 0)  # the number of the first line not read yet, and where it begins
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from number `log_number_from` on; an unfinished last line is none."""
        number, offset = self._known if self._known[0] <= log_number_from else (0, 0)
        with self._path.open("rb") as file:
            file.seek(offset)
            content = file.read()
        for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            number, offset = number + 1, offset + len(line)
            if number > log_number_from:
                yield json.loads(line)
        self._known = (number, offset)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries behind all others, each a whole line on disk or not there at all."""
        with self._lock.hold() as turn:
            # A holder that stood still past its turn then writes behind its successor's entries,
            # not over them (on NFS the server does not promise that).
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND)
            try:
                end = atomic.truncate_partial_line(handle)
                for log in logs:
                    line = (json.dumps(log, separators=(",", ":")) + "\n").encode()
                    turn.check()
                    end = atomic.write_all(handle, line, end)
            finally:
                os.close(handle)
