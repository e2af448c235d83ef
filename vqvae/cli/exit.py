"""How a command ends: what is wrong in one line on standard error, and an exit status.

0: done. 1: the work failed. 2: the input or the command line is wrong. `sweeps/cli/exit.py` has
the same functions, to the letter (`tests/test_twins.py`).
"""

import contextlib
import errno
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from vqvae.errors import InputError
from vqvae.streams import OutputError, ReaderGoneError, accept_any_text
from vqvae.text import one_line

DEBUG = "--debug"
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # it has no name of its own in Typer
_WRONG_PATH = frozenset(
    {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}
)
"""What the system answers where a person named a wrong path; any other error is not theirs."""


def run_and_exit(program: str, app: Callable[..., int | None], given: Sequence[str]) -> None:
    """Run a command and end this process with its exit status.

    Args:
        program: the name in usage lines.
        app: the commands.
        given: the command line.
    """
    accept_any_text()
    # Taken from wherever it stands: people add it at the end of the command that has just failed.
    arguments = [argument for argument in given if argument != DEBUG]
    try:
        status = app(arguments, prog_name=program, standalone_mode=False) or 0
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 (the last resort: a person sees one line)
        status = _print_all(error, debug=DEBUG in given)
    except SystemExit as end:
        # Typer ends with status 1 and no line after any broken pipe: a socket's or a child's, too.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        status = _print_all(end.__context__, debug=DEBUG in given)
    sys.exit(status)


def _print_all(error: Exception, *, debug: bool) -> int:
    if debug:
        with contextlib.suppress(OutputError):
            traceback.print_exception(error)
    return print_error(error)


def print_error(error: Exception) -> int:
    """Print what is wrong on standard error; return the exit status for it."""
    if isinstance(error, _UsageError):
        return _print_usage_error(error)
    if isinstance(error, typer.Abort):
        _print_line("interrupted")
        return 1
    error = _as_input_error(error)
    if isinstance(error, OutputError):
        if not isinstance(error, ReaderGoneError):
            _print_line(str(error))
        return 1
    text = str(error) or "no reason was given"
    known = isinstance(error, InputError | RuntimeError)
    _print_line(text if known else f"{type(error).__name__}: {text}")
    return 2 if isinstance(error, InputError) else 1


def _print_usage_error(error: Exception) -> int:
    """Print what is wrong with the command line; where it is empty, the help has been shown."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2
    context = getattr(error, "ctx", None)
    advice = f"; see: {context.command_path} --help" if context is not None else ""
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    _print_line(f"{message}{advice}")
    return 2


def _as_input_error(error: Exception) -> Exception:
    """The error as one of the input, if it is a wrong path, or a name in other bytes."""
    if isinstance(error, OSError) and error.errno in _WRONG_PATH and error.filename is not None:
        return InputError(f"{error.filename}: {error.strerror}")
    if isinstance(error, UnicodeEncodeError):  # text is written as UTF-8
        name = error.object[max(0, error.start - 80) : error.end + 80]
        is_utf8 = sys.getfilesystemencoding() == "utf-8"
        advice = "if it is a file name, rename the file" if is_utf8 else "set LC_ALL=C.UTF-8"
        return InputError(f"{name!r} cannot be written as UTF-8; {advice}")
    return error


def _print_line(text: str) -> None:
    with contextlib.suppress(OSError, OutputError):  # the exit status still says that it failed
        print("error:", one_line(text), file=sys.stderr)
