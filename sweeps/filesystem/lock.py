"""A lock on a shared file system that no crash can leave shut.

The lock is a folder of numbered turns. Whoever creates the next number, exclusively, has the
lock; that one act is also how a dead holder is passed over, so a turn is never freed by anybody
but its holder, and no holder can free another's. The highest number is never removed, so a
latecomer with an old listing finds out that its turn has passed.
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
    """The lock was held for longer than a holder is believed alive, and another took it."""


class LockBusyError(EnvironmentFailure):
    """The lock could not be had in the time allowed."""


@dataclass(frozen=True)
class Turn:
    """The right to act that a holder has until it is released or passed over."""

    folder: Path
    number: int

    def check(self) -> None:
        """Raise LockLostError where somebody else has passed this holder over."""
        if _highest(entry.name for entry in self.folder.iterdir()) != self.number:
            raise LockLostError(f"{self.folder}: turn {self.number} was passed over")

    def renew(self) -> None:
        """Show waiters on other machines that a long holder lives; raise if passed over."""
        self.check()
        os.utime(self.folder / f"{self.number}")

    @contextmanager
    def keep_renewed(self, every: float) -> Iterator[None]:
        """Renew the turn from a thread while the block runs, however long that is.

        One that was passed over meanwhile is not told of it here: `check` before the last act.
        """

        def renew() -> None:
            with contextlib.suppress(LockLostError, OSError):
                self.renew()

        with run_periodically(renew, every):
            yield

    def release(self) -> None:
        """End the turn; where it was passed over already, nothing happens.

        Over a quota no file can be made. The turn's own then says it, by a time that no clock
        gives: a holder that lives on and could not let go would never be passed over.
        """
        try:
            (self.folder / f"{self.number}.done").touch()
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.folder / f"{self.number}", ns=(_RELEASED_MTIME, _RELEASED_MTIME))


class Lock:
    """Mutual exclusion by a folder, between processes on any number of hosts."""

    def __init__(self, folder: Path, *, stale_after: float = 60.0, patience: float = 600.0) -> None:
        """Make the folder.

        Args:
            folder: where the turns are kept; made where it is not there.
            stale_after: seconds, by the waiter's own clock, without change, after which a holder
                on another machine is believed dead, and one that was stopped on this machine is
                passed over. A holder that runs on this machine never is.
            patience: seconds to wait for a turn before giving up.
        """
        self._folder = folder
        self._stale_after = stale_after
        self._patience = patience
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def hold(self) -> Iterator[Turn]:
        """Wait for a turn, and end it on the way out.

        Raises:
            LockBusyError: others had it for longer than this lock's patience.
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
            seen = (number, self._renewal_time(number))
            free = free or seen[1] == _RELEASED_MTIME
            if seen != watched:
                watched, since = seen, time.monotonic()
            silence = time.monotonic() - since
            if (free or self._is_dead(number, silence)) and (turn := self._take(number + 1)):
                return turn
            if time.monotonic() > give_up:
                raise LockBusyError(f"{self._folder}: waited {self._patience:.0f} s for a turn")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _latest_turn(self) -> tuple[int, bool]:
        """The highest turn so far, and whether it is over."""
        names = {entry.name for entry in self._folder.iterdir()}
        number = _highest(names)
        return number, number == 0 or f"{number}.done" in names

    def _take(self, number: int) -> Turn | None:
        holder = this_process().to_json() | {"token": uuid.uuid4().hex}
        if not atomic.create(self._folder / f"{number}", json.dumps(holder), sync=False):
            return None
        if (
            self._latest_turn()[0] != number
        ):  # an old number, freed by the sweeping below, is no turn
            return None
        self._remove_old_turns(number)
        return Turn(self._folder, number)

    def _remove_old_turns(self, number: int) -> None:
        for entry in self._folder.iterdir():
            stem = entry.name.removesuffix(".done")
            if stem.isdigit() and int(stem) < number - 1:
                entry.unlink(missing_ok=True)

    def _is_dead(self, number: int, silence: float) -> bool:
        """Whether a holder that was seen unchanged for `silence` seconds may be passed over."""
        content = atomic.read_json(self._folder / f"{number}")
        if content is None:  # swept away: there is a higher number
            return False
        holder = Process.from_json(content)
        if holder.is_here() and not holder.is_stopped():
            return False
        return holder.is_gone() or silence > self._stale_after

    def _renewal_time(self, number: int) -> int:
        """A figure that changes whenever the holder renews its turn."""
        try:
            return (self._folder / f"{number}").stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _highest(names: Iterable[str]) -> int:
    return max((int(name) for name in names if name.isdigit()), default=0)
