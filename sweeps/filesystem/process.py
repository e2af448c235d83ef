"""The identity of a process, and whether a process has certainly ended."""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Process:
    """A process, distinguished from any other process that has the same number at another time.

    Attributes:
        machine: the name of the host, the id of its boot, and its process-number namespace.
        pid: the process number there.
        started: when the process started, in clock ticks since that boot; empty if not known.
    """

    machine: str
    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the process that has this number here, now."""
        return cls(machine(), pid, _start_of(pid) or "")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the process that a JSON object describes; other keys are ignored."""
        return cls(content["machine"], content["pid"], content["started"])

    def is_gone(self) -> bool:
        """Return whether it has certainly ended; False if it is on another host: not known."""
        if self.machine != machine():
            return False
        return _start_of(self.pid) != self.started

    def is_here(self) -> bool:
        """Return whether it certainly runs: it is on this host and has not ended."""
        return self.machine == machine() and not self.is_gone()

    def is_stopped(self) -> bool:
        """Return whether it is on this host and is stopped (by SIGSTOP or a debugger)."""
        return self.is_here() and _state_of(self.pid) in {"T", "t"}

    def to_json(self) -> dict[str, Any]:
        """Return the process as a JSON object."""
        return asdict(self)


@cache
def machine() -> str:
    """Return this host, its boot and its process namespace (containers share a host's name)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()[:8]
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:  # not Linux
        boot = space = ""
    return "/".join((hostname(), boot, space))


def hostname() -> str:
    """Return the name of this host. Tests of several hosts on one host set `SWEEPS_HOST`."""
    return os.environ.get("SWEEPS_HOST") or socket.gethostname()


def this_process() -> Process:
    """Return the process that runs this code."""
    return Process.of(os.getpid())


def _start_of(pid: int) -> str | None:
    """Return when `pid` started; None if no such process runs (a zombie no longer does)."""
    fields = _stat_of(pid)
    if fields is None:
        return _start_without_proc(pid)
    return None if fields[0] in {"Z", "X"} else fields[19]


def _state_of(pid: int) -> str | None:
    """Return the letter of the state of `pid` (proc(5)); None if it is not known."""
    fields = _stat_of(pid)
    return None if fields is None else fields[0]


def _stat_of(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` from the state on (proc(5)); None without the file."""
    try:
        # In bytes: the name of a process, in brackets before the state, may be in any encoding.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def _start_without_proc(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
