"""Which process this is, and whether another one is certainly gone."""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Process:
    """A process, told apart from any other that has or will have its number.

    Attributes:
        machine: the host's name, this boot of it, and the space its process numbers live in.
        pid: the process number there.
        started: when the process started, in ticks since that boot; empty where not known.
    """

    machine: str
    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this number here, now."""
        return cls(machine(), pid, _start_of(pid) or "")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The process that a JSON object says; what else it says is left alone."""
        return cls(content["machine"], content["pid"], content["started"])

    def is_gone(self) -> bool:
        """Whether it certainly ended. False for a process of another machine: nobody can tell."""
        if self.machine != machine():
            return False
        return _start_of(self.pid) != self.started

    def is_here(self) -> bool:
        """Whether it certainly runs: on this machine, and not ended."""
        return self.machine == machine() and not self.is_gone()

    def is_stopped(self) -> bool:
        """Whether it runs on this machine but stands still (SIGSTOP, a debugger)."""
        return self.is_here() and _state_of(self.pid) in {"T", "t"}

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@cache
def machine() -> str:
    """This machine, this boot, this process name space (containers share a host's name)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:  # not Linux
        boot = space = ""
    return "/".join((hostname(), boot, space))


def hostname() -> str:
    """The short name of this host. Tests of several hosts on one machine set `SWEEPS_HOST`."""
    return os.environ.get("SWEEPS_HOST") or socket.gethostname()


def this_process() -> Process:
    """The running process."""
    return Process.of(os.getpid())


def _start_of(pid: int) -> str | None:
    """When `pid` started; None where no such process runs (a zombie no longer does)."""
    fields = _stat_of(pid)
    if fields is None:
        return _start_without_proc(pid)
    return None if fields[0] in {"Z", "X"} else fields[19]


def _state_of(pid: int) -> str | None:
    """The letter of what `pid` is doing; None where that is not known."""
    fields = _stat_of(pid)
    return None if fields is None else fields[0]


def _stat_of(pid: int) -> list[str] | None:
    """Linux's figures on a process, from its state on (proc(5)); None where there are none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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
