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
from sweeps.workers.exit_codes import ExitCode, WorkerDeath

MAX_RESTARTS = 5
"""How often a worker's place is filled again before it is given up."""
KILL_SECONDS = 10.0
"""How long the end of a worker that was killed is waited for."""
STABLE_SECONDS = 600.0
"""A worker that lived so long makes its place forget the deaths before."""


@dataclass
class Slot:
    """A worker's place in the job."""

    number: int
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_at: float = 0.0
    """When the place was last filled, by the monotonic clock."""
    restart_after: float = 0.0
    """When the place may be filled, by the monotonic clock: later after each death."""
    done: bool = False
    worker: Process | None = None
    """Who the last one here is, or was: a number alone may come back."""
    exit_code: int | None = None
    """The status that the last worker here ended with."""
    deaths: list[WorkerDeath] = field(default_factory=list)
    """Of workers here that a signal ended while the job goes on; whoever reads it empties it."""

    def update(self, *, leaving: bool, paused: bool = False) -> None:
        """Fill an empty place; take note of a worker that ended, by itself or not.

        Args:
            leaving: whether the job comes to its end, so that nobody is replaced.
            paused: whether the place is to stay empty for now; who leaves it then was told to.
        """
        if self.done:
            return
        if self.process is None:
            self.done = leaving
            if not leaving and not paused and time.monotonic() >= self.restart_after:
                self._start_worker()
        elif (code := self.process.poll()) is not None:
            print_line(f"worker {self.number} ended with status {code}")
            if code < 0 and self.worker is not None and not leaving:
                self.deaths.append(WorkerDeath(self.worker, -code))
            self.process, self.exit_code = None, code
            orderly = code in {ExitCode.OUT_OF_MEMORY, ExitCode.PROCESS_LOST} or (
                paused and code == ExitCode.DONE
            )
            if orderly:
                self.starts -= 1
                self.done = leaving
            else:
                self._count_death(code, leaving=leaving)

    def kill_worker(self) -> None:
        """Kill the worker; it was hung, and the next one may come at once.

        One that waits for a driver or a file server may not even die; it computes nothing more.
        """
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILL_SECONDS)
            self.process, self.starts = None, self.starts - 1

    def discount_restart(self) -> None:
        """Count the last death no more: its trial has been told of it, and is judged by that."""
        self.starts -= 1
        self.done = False

    def send_signal(self, number: signal.Signals) -> None:
        """Send the worker a signal, if there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _count_death(self, code: int, *, leaving: bool) -> None:
        if time.monotonic() - self.started_at > STABLE_SECONDS:
            self.starts = 1
        self.done = (
            code in {ExitCode.DONE, ExitCode.DISK_FULL} or leaving or self.starts > MAX_RESTARTS
        )
        self.restart_after = time.monotonic() + min(2.0**self.starts, 60.0) - 2.0

    def _start_worker(self) -> None:
        with self.log.open("ab") as log:
            self.process = start_process(self.command, log, self.environment)
        self.worker = Process.of(self.process.pid)
        self.starts += 1
        self.exit_code = None
        self.started_at = time.monotonic()


@dataclass
class Slots:
    """All places of a job."""

    regular: list[Slot]
    exclusive: Slot
    """For a worker that has the device to itself; the others wait meanwhile."""
    exclusive_mode: bool = False
    """Whether the lonely place is in use, or to be once the others have left."""

    def __iter__(self) -> Iterator[Slot]:
        return iter([*self.regular, self.exclusive])

    def update(self, *, leaving: bool) -> None:
        """Look at each place once."""
        for place in self.regular:
            place.update(leaving=leaving, paused=self.exclusive_mode)
            if place.exit_code == ExitCode.OUT_OF_MEMORY and len(self.regular) > 1 and not leaving:
                self._enter_exclusive_mode(place)
        if self.exclusive_mode and all(place.process is None for place in self.regular):
            self.exclusive.update(leaving=leaving)
            self.exclusive_mode = not self.exclusive.done

    def are_done(self) -> bool:
        """Whether every worker has left, and none is to come."""
        return all(place.done for place in self.regular) and not self.exclusive_mode

    def send_signal(self, number: signal.Signals) -> None:
        """Send every worker a signal."""
        for place in self:
            place.send_signal(number)

    def _enter_exclusive_mode(self, place: Slot) -> None:
        """Have the others leave after the epoch they are in, for a trial that needs all memory."""
        place.exit_code = None
        if self.exclusive_mode:
            return
        if self.exclusive.exit_code not in {
            None,
            ExitCode.DONE,
        }:  # it was given up: what is left needs a mend
            place.done = True
        else:
            print_line(f"worker {place.number} was out of memory: one worker alone for a while")
            self.exclusive_mode, self.exclusive.done, self.exclusive.starts = True, False, 0
            for other in self.regular:
                other.send_signal(signal.SIGTERM)


def start_process(
    command: list[str], log: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process that hears nothing and writes into a log."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
    )


def print_line(line: str) -> None:
    """Write a line into the job's log."""
    with contextlib.suppress(OSError):  # a job goes on though its log lies on a full disk
        print(line, flush=True)
