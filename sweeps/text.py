"""Text that may come from others, made fit for a terminal and for a line."""

import re

LONGEST = 1000
"""Characters of a message: what is longer hides what it has to say."""

_CREDENTIALS = re.compile(r"://[^/\s'\"]*@")  # user:password@ before a host


def printable(text: str) -> str:
    """`text` with every character that does not print written out, line ends kept.

    An escape sequence in a name could move the cursor, or write over what was said before.
    """
    return "".join(c if c.isprintable() or c == "\n" else _spelt(c) for c in text)


def one_line(text: str) -> str:
    """`text` in one line that prints, passwords in addresses left out.

    Of a very long one both ends, where thing and mend are.
    """
    line = _CREDENTIALS.sub("://…@", printable(" ".join(text.split())))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST * 2 // 3]} … {line[-LONGEST // 3 :]}"


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode()
