"""Errors by rank: the input is wrong, or the world failed. A failed trial is a value, no error."""


class InputError(ValueError):
    """What was given is wrong: one line that names the thing and the mend (exit status 2)."""


class EnvironmentFailure(RuntimeError):  # noqa: N818 (Python's own EnvironmentError is OSError)
    """The machine, the file system or the scheduler failed; running again repairs (status 1)."""
