"""What a process does to itself and its like when it has taken an order."""

import errno
import io
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.schedule import ScheduledFault

DISK = "FAULTS_DISK"
"""The environment variable that names the small file system under test."""
FILLER = "filler"
OVER_QUOTA_SECONDS = 1.5
"""How long every write of a process fails that is over its quota."""


def kill(_: ScheduledFault) -> None:
    """As `kill -9` of this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_all(_: ScheduledFault) -> None:
    """As `kill -9` of every worker of the sweep, this process last."""
    for pid in processes("sweeps work", os.environ["FAULTS_SWEEP"]):
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def stop(_: ScheduledFault) -> None:
    """Stand still until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fill_disk(_: ScheduledFault) -> None:
    """Leave no room on the file system: the suite makes some again."""
    disk = Path(os.environ[DISK])
    if not disk.is_mount():
        raise RuntimeError(f"{disk} is no file system of its own; this would fill somebody else's")
    with (disk / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def exceed_quota(_: ScheduledFault) -> None:
    """Have whatever this process writes refused for a while, as over a quota.

    A fake, for quotas do not hold for root: what is replaced is the system's answer.
    """
    until = time.monotonic() + OVER_QUOTA_SECONDS

    def refusing(original: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if time.monotonic() < until and writes(*given, **named):
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return original(*given, **named)

        return call

    os.pwrite = refusing(os.pwrite, lambda *_: True)
    os.open = refusing(os.open, lambda path, flags, *_, **__: flags & os.O_CREAT)
    io.open = refusing(io.open, lambda path, mode="r", *_, **__: mode[0] in "wax")


FAULTS_INSIDE: dict[str, Callable[[ScheduledFault], None]] = {
    "kill -9 of a worker": kill,
    "kill -9 of all workers": kill_all,
    "a worker frozen, replaced, resumed": stop,
    "the disk full": fill_disk,
    "over quota": exceed_quota,
}
"""The faults that happen at a step, by name."""
DEADLY = {"kill -9 of a worker", "kill -9 of all workers"}
"""Those that the process does not survive."""


def processes(*words: str) -> Iterator[int]:
    """The numbers of all processes whose command line has these words in it."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if state not in {"Z", "X"} and all(word in line for word in words):
            yield int(path.name)


def may_mount() -> bool:
    """Whether file systems can be mounted here: root can, unless a container forbids it."""
    with tempfile.TemporaryDirectory() as name:
        possible = mounted(Path(name), 1)
        if possible:
            subprocess.run(["umount", name], check=True)
    return possible


def mounted(folder: Path, megabytes: int) -> bool:
    """Make `folder` a small file system of its own; whether that may be done here."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
