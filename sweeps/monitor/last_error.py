"""The end of the newest log of a sweep's jobs: why no job runs, as the job itself says it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sweeps.storage.paths import SweepPaths
from sweeps.text import one_line

_READ_BYTES = 8192
"""The end of a log that is read: a traceback's last lines stand there."""
_SHOWN_LINES = 2
_NOISE = re.compile(r"(srun|slurmstepd|submitit)\b")
"""How lines begin that say only that a job ended; the reason stands before them."""


def last_error_lines(paths: SweepPaths) -> Iterator[str]:
    """Yield the file and the last lines of the newest log that is not empty; nothing without one.

    A log is what a job wrote to its standard error, `setup` lines included, or a worker's output.
    """
    logs = [*paths.scheduler_logs.glob("*_log.err"), paths.submission_log]
    logs += [log for job in paths.jobs() for log in job.worker_logs()]
    found = [(state.st_mtime_ns, log) for log in logs if (state := _state(log)) is not None]
    for _, log in sorted(found, reverse=True):
        if lines := _last_lines(log):
            yield f"the newest log ends with these lines ({log}):"
            yield from (f"  {one_line(line)}" for line in lines)
            return


def _state(log: Path) -> os.stat_result | None:
    try:
        return log.stat()
    except OSError:  # removed meanwhile, or never written
        return None


def _last_lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
            text = file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if not _NOISE.match(line)] or lines)[-_SHOWN_LINES:]
