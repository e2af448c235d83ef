"""Names and URIs that are safe to write into paths, records and logs."""

import re

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A name that may become the name of a folder and a part of a URI."""
NAME_RULE = "1 to 64 letters, digits, - and _"
"""The same rule in words, for messages."""
RESERVED = {"artifacts", "comparisons", "store"}
"""Names of other folders in the runs folder; no sweep may have them."""
CONFIRMATION_SUFFIX = "-confirm"
"""How the name of a confirmation ends: a sweep that trains another sweep's best trials again."""


def is_sweep_name(name: str) -> bool:
    """Return whether a sweep, or a confirmation, may have this name."""
    return SAFE_NAME.fullmatch(name.removesuffix(CONFIRMATION_SUFFIX)) is not None and (
        name not in RESERVED
    )


def refuse_credentials(uri: str | None) -> None:
    """Refuse a URI with a user name or a password: it would be written into plans and logs.

    Raises:
        ValueError: the URI has one; the message does not repeat it.
    """
    if uri is not None and "@" in uri.partition("://")[2].partition("/")[0]:
        names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        raise ValueError(f"a URI with a user name or a password is not allowed; set {names}")
