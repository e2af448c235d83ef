"""One generated input: the files in its folder, the command line, the expected result."""

from dataclasses import dataclass, field
from typing import Literal

Expect = Literal["succeeds", "refused", "either"]


@dataclass(frozen=True)
class Case:
    """An input for one of the two programs."""

    kind: str
    program: Literal["sweeps", "vqvae"]
    arguments: tuple[str, ...]
    files: dict[str, bytes | str | None] = field(default_factory=dict)
    """The content of files by name; None is a named pipe, and a text the target of a link."""
    expect: Expect = "either"
    named: tuple[str, ...] = ()
    """Words of which the error message must contain at least one."""
    made: tuple[str, ...] = ()
    """Paths that a success must create."""
    output: str = ""
    """Text that a success must print."""
    base: Literal["", "set", "volumes", "scans", "codes"] = ""
    """The part of the shared material that is copied beside the files."""
    folder: str = "folder"
    """The name of the folder in which the program runs."""
    encoding: str = "utf-8"
    """The encoding of both outputs."""
    columns: int = 200
    """The width of the terminal."""
