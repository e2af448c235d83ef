"""Between the commands and the person: whatever is wrong is told in one line, with a status.

0 is done, 1 is work that failed, 2 is input or a command line that is wrong.
"""

import errno
import sys

import typer

from vqvae.errors import InputError
from vqvae.text import one_line

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # it has no name of its own in Typer
_NO_SUCH_NAME = {
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
    *(errno.EACCES, errno.EPERM),
}
"""What the system says of a place that was named wrongly; anything else is the world's fault."""


def print_error(error: Exception) -> int:
    """Say on standard error what is wrong; the status that stands for it."""
    if isinstance(error, _UsageError):
        return _print_usage_error(error)
    if isinstance(error, OSError) and error.errno in _NO_SUCH_NAME and error.filename is not None:
        error = InputError(f"{error.filename}: {error.strerror}")
    known = isinstance(error, (InputError, RuntimeError))
    text = str(error) or "no reason was given"
    _print_line(text if known else f"{type(error).__name__}: {text}")
    return 2 if isinstance(error, InputError) else 1


def _print_usage_error(error: Exception) -> int:
    """Say what is wrong with the command line; the help itself where nothing was asked for."""
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was shown as it was made
        return 2
    context = getattr(error, "ctx", None)
    mend = f"; see: {context.command_path} --help" if context is not None else ""
    said = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    _print_line(f"{said}{mend}")
    return 2


def _print_line(text: str) -> None:
    print(f"vqvae: {one_line(text)}", file=sys.stderr)
