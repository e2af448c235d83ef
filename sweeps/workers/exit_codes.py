"""How a worker's process ends, as its exit status tells the supervisor.

Any other status is a death: a bug of this program, a driver, the system's memory.
"""

from dataclasses import dataclass
from enum import IntEnum

from sweeps.filesystem.process import Process


class ExitCode(IntEnum):
    """Exit statuses of a worker; 1 and 2 are those of any command that failed."""

    DONE = 0
    """Nothing is left to do, the time is up, or the sweep is stopped."""
    DISK_FULL = 10
    """The disk is full: another worker would find the same."""
    OUT_OF_MEMORY = 11
    """A trial did not fit into memory beside others, or into what this process left of it."""
    PROCESS_LOST = 12
    """This process can compute nothing any more (a failed assertion on the device, say)."""


@dataclass(frozen=True)
class WorkerDeath:
    """The end of a worker by a signal, its own (an abort, a bad access) or another's."""

    process: Process
    signal: int
