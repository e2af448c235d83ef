"""One generated input: what lies in the folder it is tried in, the command line, what must come."""

from dataclasses import dataclass, field
from typing import Literal

Expect = Literal["succeeds", "refused", "either"]


@dataclass(frozen=True)
class Case:
    """An input for one of the two programs.

    `files` are written below the folder of the attempt; a value of None is a named pipe, and a
    text the target of a link. `named` are words one of which the refusal must contain: the thing.
    `made` are paths that a success must have made.
    """

    kind: str
    program: Literal["sweeps", "vqvae"]
    arguments: tuple[str, ...]
    files: dict[str, bytes | str | None] = field(default_factory=dict)
    expect: Expect = "either"
    named: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    says: str = ""
    base: Literal["", "set", "volumes", "scans", "codes"] = ""
    """What of the shared material is copied beside the files."""
