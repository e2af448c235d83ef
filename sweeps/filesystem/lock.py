"""A lock on a shared file system that is never left locked by a crash.

The lock is a folder of numbered turns. The process that creates the next number, exclusively, holds
the lock. A dead holder is passed over in the same way: only a holder itself ends its turn, and no
holder can end another's. The highest number is never removed, so a process with an outdated listing
of the folder finds out that its turn has passed.
"""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.periodic import run_periodically
from sweeps.filesystem.process import Process, this_process

_RELEASED_MTIME = 1_000_000_000
"""One second after the epoch, in nanoseconds."""


class LockLostError(EnvironmentFailure):
    """Another process passed over this holder, because it was silent for too long."""


class LockBusyError(EnvironmentFailure):
    """The lock was not free within the time allowed."""


@dataclass(frozen=True)
class Turn:
    """One holder's turn: it has the lock until it releases the turn or is passed over."""

    folder: Path
    number: int

    def check(self) -> None:
        """Raise LockLostError if another process has passed this holder over."""
        if _highest(entry.name for entry in self.folder.iterdir()) != self.number:
            raise LockLostError(
                f"{self.folder}: turn {self.number} was passed over; another process has the lock"
            )

    def renew(self) -> None:
        """Show waiting processes on other hosts that the holder is alive.

        Raises:
            LockLostError: another process has passed this holder over.
        """
        self.check()
        os.utime(self.folder / f"{self.number}")

    @contextmanager
    def keep_renewed(self, every: float) -> Iterator[None]:
        """Renew the turn from a thread every so many seconds, while the block runs.

        If the holder is passed over meanwhile, this does not raise: call `check` before the last
        action that needs the lock.
        """

        def renew() -> None:
            with contextlib.suppress(LockLostError, OSError):
                self.renew()

        with run_periodically(renew, every):
            yield

    def release(self) -> None:
        """End the turn; if it was passed over already, nothing changes.

        If a quota is exceeded, no file can be created. The turn's own file then gets a
        modification time that no clock gives. Without this, a holder that goes on running and
        could not release its turn would never be passed over.
        """
        try:
            (self.folder / f"{self.number}.done").touch()
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.folder / f"{self.number}", ns=(_RELEASED_MTIME, _RELEASED_MTIME))


class Lock:
    """Mutual exclusion by a folder, between processes on any number of hosts."""

    def __init__(self, folder: Path, *, stale_after: float = 60.0, patience: float = 600.0) -> None:
        """Create the folder.

        Args:
            folder: the folder of the turns; created if it does not exist.
            stale_after: seconds without a change, by the waiting process's own clock, after which
                a holder on another host, or a stopped one on this host, is passed over. A holder
                that runs on this host is never passed over.
            patience: seconds to wait for a turn.
        """
        self._folder = folder
        self._stale_after = stale_after
        self._patience = patience
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def hold(self) -> Iterator[Turn]:
        """Wait for a turn, and release it at the end of the block.

        Raises:
            LockBusyError: other processes held the lock for longer than `patience`.
        """
        turn = self._wait()
        try:
            yield turn
        finally:
            turn.release()

    def _wait(self) -> Turn:
        give_up = time.monotonic() + self._patience
        watched, since, pause = (-1, 0), time.monotonic(), 0.001
        while True:
            number, free = self._latest_turn()
            current = (number, self._renewal_time(number))
            free = free or current[1] == _RELEASED_MTIME
            if current != watched:
                watched, since = current, time.monotonic()
            silence = time.monotonic() - since
            if (free or self._is_dead(number, silence)) and (turn := self._take(number + 1)):
                return turn
            if time.monotonic() > give_up:
                raise LockBusyError(
                    f"{self._folder}: waited {self._patience:.0f} s for the lock, which another "
                    "process holds"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _latest_turn(self) -> tuple[int, bool]:
        """Return the highest turn so far, and whether it has ended."""
        names = {entry.name for entry in self._folder.iterdir()}
        number = _highest(names)
        return number, number == 0 or f"{number}.done" in names

    def _take(self, number: int) -> Turn | None:
        holder = this_process().to_json() | {"token": uuid.uuid4().hex}
        if not atomic.create(self._folder / f"{number}", json.dumps(holder), sync=False):
            return None
        if self._latest_turn()[0] != number:
            return None  # an old number, whose file `_remove_old_turns` had removed: not a turn
        self._remove_old_turns(number)
        return Turn(self._folder, number)

    def _remove_old_turns(self, number: int) -> None:
        for entry in self._folder.iterdir():
            stem = entry.name.removesuffix(".done")
            if stem.isdigit() and int(stem) < number - 1:
                entry.unlink(missing_ok=True)

    def _is_dead(self, number: int, silence: float) -> bool:
        """Return whether a holder without a change for `silence` seconds may be passed over."""
        content = atomic.read_json(self._folder / f"{number}")
        if content is None:  # removed as an old turn: there is a higher number
            return False
        holder = Process.from_json(content)
        if holder.is_here() and not holder.is_stopped():
            return False
        return holder.is_gone() or silence > self._stale_after

    def _renewal_time(self, number: int) -> int:
        """Return a number that changes whenever the holder renews its turn."""
        try:
            return (self._folder / f"{number}").stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _highest(names: Iterable[str]) -> int:
    return max((int(name) for name in names if name.isdigit()), default=0)
