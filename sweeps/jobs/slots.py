"""A job's slots: each holds one worker process at a time.

A worker that died is replaced, after a longer pause for each death. A worker whose exit code says
that only its process was lost is replaced at once. After a worker ran out of memory the other
workers leave, and one worker gets exclusive use of the device for the trials that need it.
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
from sweeps.streams import OutputError
from sweeps.workers.exit_codes import ExitCode, WorkerDeath

MAX_RESTARTS = 5
"""How often the worker of a slot is restarted before the slot is given up."""
KILL_SECONDS = 10.0
"""How many seconds to wait for a killed worker to end."""
STABLE_SECONDS = 600.0
"""A worker that ran for longer resets the slot's count of restarts."""


@dataclass
class Slot:
    """A place in the job for one worker at a time."""

    number: int
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_at: float = 0.0
    """When the last worker was started, by the monotonic clock."""
    restart_after: float = 0.0
    """When a worker may be started, by the monotonic clock: later after each death."""
    done: bool = False
    worker: Process | None = None
    """The identity of the last worker. A process id alone can be used again by the system."""
    exit_code: int | None = None
    """The exit code of the last worker."""
    deaths: list[WorkerDeath] = field(default_factory=list)
    """Workers that a signal ended while the job continues; the reader empties the list."""

    def update(self, *, leaving: bool, paused: bool = False) -> None:
        """Start a worker if the slot is empty; record the end of a worker that has ended.

        Args:
            leaving: whether the job is about to end, so that no worker is replaced.
            paused: whether the slot must stay empty for now. A worker that leaves then was asked
                to leave.
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
        """Kill a worker that hangs; the next one may start at once.

        A process that waits for a driver or a file server may not end even then. It computes
        nothing more, so the slot does not wait for it.
        """
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILL_SECONDS)
            self.process, self.starts = None, self.starts - 1

    def discount_restart(self) -> None:
        """Do not count the last death: it was recorded with the trial, which limits its retries."""
        self.starts -= 1
        self.done = False

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker, if there is one."""
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
    """All slots of a job."""

    regular: list[Slot]
    exclusive: Slot
    """For a worker with exclusive use of the device; the regular slots stay empty meanwhile."""
    exclusive_mode: bool = False
    """Whether the exclusive slot is in use, or will be once the other workers have left."""

    def __iter__(self) -> Iterator[Slot]:
        return iter([*self.regular, self.exclusive])

    def update(self, *, leaving: bool) -> None:
        """Update each slot once."""
        for slot in self.regular:
            slot.update(leaving=leaving, paused=self.exclusive_mode)
            if slot.exit_code == ExitCode.OUT_OF_MEMORY and len(self.regular) > 1 and not leaving:
                self._enter_exclusive_mode(slot)
        if self.exclusive_mode and all(slot.process is None for slot in self.regular):
            self.exclusive.update(leaving=leaving)
            self.exclusive_mode = not self.exclusive.done

    def are_done(self) -> bool:
        """Return whether every worker has left and no other will be started."""
        return all(slot.done for slot in self.regular) and not self.exclusive_mode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to every worker."""
        for slot in self:
            slot.send_signal(number)

    def _enter_exclusive_mode(self, slot: Slot) -> None:
        """Ask the other workers to leave after their epoch: a trial needs the whole memory."""
        slot.exit_code = None
        if self.exclusive_mode:
            return
        # The exclusive slot was given up before: a person must fix what its workers died of.
        if self.exclusive.exit_code not in {None, ExitCode.DONE}:
            slot.done = True
        else:
            cause = f"worker {slot.number} ran out of memory"
            print_line(f"{cause}: one worker will get exclusive use of the device")
            self.exclusive_mode, self.exclusive.done, self.exclusive.starts = True, False, 0
            for other in self.regular:
                other.send_signal(signal.SIGTERM)


def start_process(
    command: list[str], log: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process without input whose output goes into a log."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
    )


def print_line(line: str) -> None:
    """Write a line into the job's log."""
    with contextlib.suppress(
        OSError, OutputError
    ):  # the job continues even if the disk of its log is full
        print(line, flush=True)
