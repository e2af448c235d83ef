"""Faults that a process of the sweep carries out itself, at a step."""

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
"""How long every write fails in a process whose quota is exceeded."""


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
    """Stop this process until it gets SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fill_disk(_: ScheduledFault) -> None:
    """Fill the file system; the suite frees it again."""
    disk = Path(os.environ[DISK])
    if not disk.is_mount():
        raise RuntimeError(f"{disk} is not a file system of its own; another one would be filled")
    with (disk / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def exceed_quota(_: ScheduledFault) -> None:
    """Let all writes of this process fail for a while, as if a quota were exceeded.

    The answer of the operating system is replaced, because quotas do not apply to root.
    """
    until = time.monotonic() + OVER_QUOTA_SECONDS

    def refusing(original: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if time.monotonic() < until and writes(*args, **kwargs):
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return original(*args, **kwargs)

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
"""The faults that end the process."""


def processes(*words: str) -> Iterator[int]:
    """Yield the numbers of all processes whose command line contains these words."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if state not in {"Z", "X"} and all(word in line for word in words):
            yield int(path.name)


def may_mount() -> bool:
    """Return whether file systems can be mounted here: by root, unless a container forbids it."""
    with tempfile.TemporaryDirectory() as name:
        possible = mounted(Path(name), 1)
        if possible:
            subprocess.run(["umount", name], check=True)
    return possible


def mounted(folder: Path, megabytes: int) -> bool:
    """Mount a small file system at `folder`; return whether that was possible."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
