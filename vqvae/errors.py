"""The errors that a caller of this package is meant to act on."""

import errno


class InputError(ValueError):
    """What was given is wrong: one line that says what, and what to do."""


class UnavailableError(InputError):
    """What was given is out of reach, and may be back: a mount, a file server, a full disk.

    A training that meets this has done nothing wrong; it can go on later from where it was.
    """


_TRANSIENT = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO),
    *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}


def is_transient(error: BaseException) -> bool:
    """Whether an error is the world's, and not that of the file that met it."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT
