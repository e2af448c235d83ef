"""A job's places for workers, each filled by one process after another.

One that died is followed by another, later after each death. One that says by its status that its
process had to go is followed at once. After want of memory the others leave, and one worker has
the device to itself for the trials that need that.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sweeps.filesystem.process import Process
from sweeps.workers.exit_codes import Death, End

RESTARTS = 5
"""How often a worker's place is filled again before it is given up."""
KILL_SECONDS = 10.0
"""How long the end of a worker that was killed is waited for."""
LONG_LIFE_SECONDS = 600.0
"""A worker that lived so long makes its place forget the deaths before."""


@dataclass
class Place:
    """A worker's place in the job."""

    number: int
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    filled: float = 0.0
    """When the place was last filled, by the monotonic clock."""
    not_before: float = 0.0
    """When the place may be filled, by the monotonic clock: later after each death."""
    done: bool = False
    worker: Process | None = None
    """Who the last one here is, or was: a number alone may come back."""
    ended: int | None = None
    """The status that the last worker here ended with."""
    deaths: list[Death] = field(default_factory=list)
    """Of workers here that a signal ended while the job goes on; whoever reads it empties it."""

    def look(self, *, leaving: bool, held: bool = False) -> None:
        """Fill an empty place; take note of a worker that ended, by itself or not.

        Args:
            leaving: whether the job comes to its end, so that nobody is replaced.
            held: whether the place is to stay empty for now; who leaves it then was told to.
        """
        if self.done:
            return
        if self.process is None:
            self.done = leaving
            if not leaving and not held and time.monotonic() >= self.not_before:
                self._fill()
        elif (code := self.process.poll()) is not None:
            say(f"worker {self.number} ended with status {code}")
            if code < 0 and self.worker is not None and not leaving:
                self.deaths.append(Death(self.worker, -code))
            self.process, self.ended = None, code
            orderly = code in {End.MEMORY, End.UNUSABLE} or (held and code == End.DONE)
            if orderly:
                self.starts -= 1
                self.done = leaving
            else:
                self._count_a_death(code, leaving=leaving)

    def free(self) -> None:
        """Kill the worker; it was hung, and the next one may come at once.

        One that waits for a driver or a file server may not even die; it computes nothing more.
        """
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILL_SECONDS)
            self.process, self.starts = None, self.starts - 1

    def forgive(self) -> None:
        """Count the last death no more: its trial has been told of it, and is judged by that."""
        self.starts -= 1
        self.done = False

    def tell(self, number: signal.Signals) -> None:
        """Send the worker a signal, if there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _count_a_death(self, code: int, *, leaving: bool) -> None:
        if time.monotonic() - self.filled > LONG_LIFE_SECONDS:
            self.starts = 1
        self.done = code in {End.DONE, End.FULL} or leaving or self.starts > RESTARTS
        self.not_before = time.monotonic() + min(2.0**self.starts, 60.0) - 2.0

    def _fill(self) -> None:
        with self.log.open("ab") as log:
            self.process = start(self.command, log, self.environment)
        self.worker = Process.of(self.process.pid)
        self.starts += 1
        self.ended = None
        self.filled = time.monotonic()


@dataclass
class Places:
    """All places of a job."""

    usual: list[Place]
    lonely: Place
    """For a worker that has the device to itself; the others wait meanwhile."""
    solitude: bool = False
    """Whether the lonely place is in use, or to be once the others have left."""

    def __iter__(self) -> Iterator[Place]:
        return iter([*self.usual, self.lonely])

    def look(self, *, leaving: bool) -> None:
        """Look at each place once."""
        for place in self.usual:
            place.look(leaving=leaving, held=self.solitude)
            if place.ended == End.MEMORY and len(self.usual) > 1 and not leaving:
                self._ask_for_solitude(place)
        if self.solitude and all(place.process is None for place in self.usual):
            self.lonely.look(leaving=leaving)
            self.solitude = not self.lonely.done

    def are_done(self) -> bool:
        """Whether every worker has left, and none is to come."""
        return all(place.done for place in self.usual) and not self.solitude

    def tell(self, number: signal.Signals) -> None:
        """Send every worker a signal."""
        for place in self:
            place.tell(number)

    def _ask_for_solitude(self, place: Place) -> None:
        """Have the others leave after the epoch they are in, for a trial that needs all memory."""
        place.ended = None
        if self.solitude:
            return
        if self.lonely.ended not in {None, End.DONE}:  # it was given up: what is left needs a mend
            place.done = True
        else:
            say(f"worker {place.number} was out of memory: one worker alone for a while")
            self.solitude, self.lonely.done, self.lonely.starts = True, False, 0
            for other in self.usual:
                other.tell(signal.SIGTERM)


def start(
    command: list[str], log: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process that hears nothing and writes into a log."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
    )


def say(line: str) -> None:
    """Write a line into the job's log."""
    with contextlib.suppress(OSError):  # a job goes on though its log lies on a full disk
        print(line, flush=True)
