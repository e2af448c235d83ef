"""Text as people see it: printable, in one line, without passwords; names, numbers, durations.

The text may come from others. The first part is the same in `vqvae/text.py`, to the letter
(`tests/test_twins.py`): the two packages do not know each other, and speak with one voice.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

MAX_LENGTH = 1000
"""Characters of a message: in a longer one nobody finds what is wrong."""

_CREDENTIALS = re.compile(r"://[^/\s'\"]*@")
"""`user:password@` before a host."""


def printable(text: str) -> str:
    """`text` with every character that does not print written as an escape, line ends kept.

    An escape sequence in a name could move the cursor, or write over earlier output.
    """
    if text.isprintable():  # the usual case, and much quicker
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def one_line(text: str) -> str:
    """`text` in one printable line, without the passwords of addresses.

    Of a very long text both ends stay, where a message says what is wrong and what to do.
    """
    line = _CREDENTIALS.sub("://…@", printable(" ".join(text.split())))
    if len(line) <= MAX_LENGTH:
        return line
    return f"{line[: MAX_LENGTH * 2 // 3]} … {line[-MAX_LENGTH // 3 :]}"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of a message about an unknown name: the names close to `word`, or else all of them.

    Of dotted names those with the same last part are close, too.
    """
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    close = close or [name for name in known if name.endswith("." + word.rpartition(".")[2])]
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; the valid ones are {', '.join(known)}" if known else ""


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def number(value: str | int | float | bool) -> str:
    """A value as text, a float with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A duration in its two largest units: `40 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def shown_path(path: Path) -> str:
    """A path as a person types it here: relative to the current folder if it is inside."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 trial`, `2 trials`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def on_own_line(what: str, copied: str) -> str:
    """Two lines: what a link, a path or a command is for, and the thing itself, to be copied.

    Nothing stands beside it, so that it is whole, and marked with one click, in a narrow terminal.
    """
    return f"{what}:\n  {copied}"
