"""The addresses on which a process and its children listen, from Linux's /proc."""

import socket
from collections.abc import Iterator
from pathlib import Path

LISTEN = "0A"


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def listening(pid: int) -> set[tuple[str, int]]:
    """The addresses and ports on which a process or a descendant of it accepts connections."""
    inodes = {inode for member in family(pid) for inode in _sockets(member)}
    return {
        _address(row[1])
        for table in ("tcp", "tcp6")
        for row in _rows(Path(f"/proc/net/{table}"))
        if row[3] == LISTEN and row[9] in inodes
    }


def _sockets(pid: int) -> Iterator[str]:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for handle in handles:
        try:
            target = str(handle.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")


def _rows(table: Path) -> list[list[str]]:
    if not table.exists():
        return []
    return [line.split() for line in table.read_text().splitlines()[1:]]


def _address(text: str) -> tuple[str, int]:
    """Parse an address: the kernel writes it as 32-bit words in the host's byte order."""
    host, _, port = text.partition(":")
    words = bytes.fromhex(host)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    kind = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(kind, packed), int(port, 16)
