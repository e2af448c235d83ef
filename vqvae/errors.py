"""The one error a caller of this package is meant to act on."""


class InputError(ValueError):
    """What was given is wrong: one line that names the thing and the mend."""
