"""Between the commands and the person: whatever is wrong is told in one line, with a status.

0 is done, 1 is work that failed, 2 is input or a command line that is wrong.
"""

import errno
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.text import one_line

DEBUG = "--debug"
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # it has no name of its own in Typer
_NO_SUCH_NAME = frozenset(
    {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}
)
"""What the system says of a place that was named wrongly; anything else is the world's fault."""


def run_and_exit(program: str, app: Callable[..., int | None], given: Sequence[str]) -> None:
    """Run a command and end this process with its status.

    Args:
        program: the name that usage lines give it.
        app: the commands.
        given: the command line.
    """
    # Taken wherever it stands: people add it at the end of the command that has just failed.
    arguments = [argument for argument in given if argument != DEBUG]
    try:
        status = app(arguments, prog_name=program, standalone_mode=False) or 0
    except Exception as error:  # noqa: BLE001 (the last resort, so that a person sees one line)
        if DEBUG in given:
            traceback.print_exc()
        status = _print_error(error)
    sys.exit(status)


def _print_error(error: Exception) -> int:
    """Say what is wrong; the status that stands for it."""
    if isinstance(error, _UsageError):
        return _print_usage_error(error)
    if isinstance(error, OSError) and error.errno in _NO_SUCH_NAME and error.filename is not None:
        error = InputError(f"{error.filename}: {error.strerror}")
    known = isinstance(error, InputError | EnvironmentFailure)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    print("error:", one_line(text), file=sys.stderr)
    return 2 if isinstance(error, InputError) else 1


def _print_usage_error(error: Exception) -> int:
    """Say what is wrong with the command line; the help itself where nothing was asked for."""
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was shown as it was made
        return 2
    context = getattr(error, "ctx", None)
    mend = f"; see: {context.command_path} --help" if context is not None else ""
    said = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    print("error:", one_line(f"{said}{mend}"), file=sys.stderr)
    return 2
