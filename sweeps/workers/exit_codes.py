"""Exit codes of a worker's process, for its supervisor.

After any other code the worker is restarted: a bug of this program or of a driver, or lack of
memory. A worker that a signal ended is a `WorkerDeath`.
"""

from dataclasses import dataclass
from enum import IntEnum

from sweeps.filesystem.process import Process


class ExitCode(IntEnum):
    """Exit codes of a worker; 1 and 2 are those of any command that failed."""

    DONE = 0
    """Nothing is left to do, the time is up, or the sweep is stopped."""
    DISK_FULL = 10
    """The disk is full; a new worker would fail in the same way."""
    OUT_OF_MEMORY = 11
    """A trial was out of memory, or waits for exclusive use of the device."""
    PROCESS_LOST = 12
    """This process cannot compute any more (after a failed assertion on the device, say)."""


@dataclass(frozen=True)
class WorkerDeath:
    """The end of a worker by a signal, raised by itself (abort, segmentation fault) or sent to it.

    Attributes:
        process: the worker's process.
        signal: the number of the signal.
    """

    process: Process
    signal: int
