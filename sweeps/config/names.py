"""Names and addresses that are safe to write down: into paths, URIs, records and logs."""

import re

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What may become a folder's name and a part of a URI."""
NAME_RULE = "1 to 64 letters, digits, - and _"
"""The same in words, for messages."""
RESERVED = {"artifacts", "store"}
"""Names of other folders among the runs."""
CONFIRMATION_SUFFIX = "-confirm"
"""The end of the name of a sweep that trains another sweep's best trials again."""


def is_sweep_name(name: str) -> bool:
    """Whether a sweep may have this name, a confirmation included."""
    return SAFE_NAME.fullmatch(name.removesuffix(CONFIRMATION_SUFFIX)) is not None and (
        name not in RESERVED
    )


def refuse_credentials(uri: str | None) -> None:
    """Refuse a URI that holds a password: it would be written into plans, records and logs.

    Raises:
        ValueError: it does; the message does not repeat it.
    """
    if uri is not None and "@" in uri.partition("://")[2].partition("/")[0]:
        names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        raise ValueError(f"a URI with a user name or a password in it; set {names} instead")
