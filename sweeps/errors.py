"""The two errors of `sweeps`: wrong input, and an environment that failed.

A failed trial is not an error: it is a result, and is recorded.
"""


class InputError(ValueError):
    """The input is wrong (exit status 2). The message names the input and says what to do."""


class EnvironmentFailure(RuntimeError):  # noqa: N818 (Python's own EnvironmentError is OSError)
    """The machine, the file system or the scheduler failed (exit status 1).

    Running the same command again continues from there.
    """
