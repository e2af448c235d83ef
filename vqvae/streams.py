"""Standard output and standard error that take any text, whatever their encoding.

Logs of clusters are often in ASCII or Latin-1. `sweeps/streams.py` and `vqvae/streams.py` are the
same file, to the letter (`tests/test_twins.py`).
"""

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast

BARS = dict(zip("▁▂▃▄▅▆▇█", "_.,-=+o#", strict=True))
"""The heights of a line of blocks, the lowest first, each with what ASCII has for it."""
SYMBOLS = {"✓": "OK", "✗": "FAILED", "★": "*", "→": "->", "±": "+/-", "…": "...", **BARS}
"""What is written for the symbols of this project where the encoding does not have them."""
_HANDLER = "symbols_in_ascii"


class OutputError(Exception):
    """Standard output or standard error cannot be written.

    It is no OSError: code that reads or writes files must not take it for an error of its own.

    Attributes:
        errno: the number of the system's error; None if it has none.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        """Keep the message and the number; a pool of processes can pass both on."""
        super().__init__(message)
        self.errno = errno


class ReaderGoneError(OutputError):
    """Nobody reads the output any more: the reader has seen enough, as `head` has."""


def accept_any_text() -> None:
    r"""Make standard output and standard error write any text, and each line at once.

    A character that the encoding of a stream does not have is written in ASCII: the symbols of this
    project as a word or a similar character, any other as its escape (`\xe9`). A process that was
    started without one of the streams gets one that drops what is written. Afterwards both raise
    OutputError, or ReaderGoneError if the reader went away; what could not be written is then
    dropped, so that the end of the process does not fail, too.
    """
    # A file that is opened later would get the free number, and be written over by any print.
    for number in range(3):
        _open_if_closed(number)
    codecs.register_error(_HANDLER, _in_ascii)
    sys.stdout = _tolerant(sys.stdout, is_original=sys.stdout is sys.__stdout__)
    sys.stderr = _tolerant(sys.stderr, is_original=sys.stderr is sys.__stderr__)


def encodable(text: str, encoding: str) -> str:
    """`text` as a stream of this encoding writes it after `accept_any_text`."""
    codecs.register_error(_HANDLER, _in_ascii)
    return text.encode(encoding, _HANDLER).decode(encoding)


class _Output(io.TextIOWrapper):
    """A stream whose errors differ from those of other files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._drop_and_describe(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._drop_and_describe(error) from error

    def _drop_and_describe(self, error: OSError) -> OutputError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        name = "standard output" if self.fileno() == 1 else "standard error"
        kind = ReaderGoneError if isinstance(error, BrokenPipeError) else OutputError
        return kind(f"{name} cannot be written: {error.strerror}", error.errno)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    text = "".join(SYMBOLS.get(character, character) for character in failed)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)  # otherwise it is closed again in every child


def _tolerant(stream: Any, *, is_original: bool) -> TextIO:
    if stream is None:  # it was closed when Python started
        return Path(os.devnull).open("w", encoding="utf-8")
    if is_original and type(stream) is io.TextIOWrapper:
        return _Output(stream.buffer, stream.encoding, _HANDLER, line_buffering=True)
    if hasattr(stream, "reconfigure"):  # a test's
        stream.reconfigure(errors=_HANDLER, line_buffering=True)
    return cast(TextIO, stream)
