"""The errors that a caller of this package can act on."""

import errno


class InputError(ValueError):
    """The input is wrong; the message is one line that says what is wrong and what to do."""


class UnavailableError(InputError):
    """The input is unavailable now and may return: a mount, a file server, a full disk.

    The training itself is not at fault; it can resume later from its last checkpoint.
    """


_TRANSIENT = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO),
    *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}


def is_transient(error: BaseException) -> bool:
    """Whether an error comes from the environment (disk, network, host), not from the file."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT


def refuse_outage(error: InputError) -> None:
    """Raise an error again that says nothing about its file: a disk or a file server failed.

    Raises:
        UnavailableError: it is such an error. That a file does not exist is none.
    """
    if isinstance(error, UnavailableError) and not isinstance(error.__cause__, FileNotFoundError):
        raise error
