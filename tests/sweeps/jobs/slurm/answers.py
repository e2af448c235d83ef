"""Lines as squeue and sacct print them when they are asked as the sweeps ask."""

from sweeps.jobs.slurm.answers import SEPARATOR, START

COMMENT = "20261201-053114-0a1b2c"
"""The comment of a submission."""


def queue_line(
    number: str,
    state: str = "RUNNING",
    *,
    submitted: str = "2026-12-01T05:31:14",
    left: str = "1:00",
    node: str = "n1",
    reason: str = "None",
    name: str = "sweep-tiny",
    comment: str = COMMENT,
) -> str:
    """Return a line of squeue."""
    return START + SEPARATOR.join((number, state, submitted, left, node, reason, name, comment))


def account_line(
    number: str,
    state: str,
    *,
    submitted: str = "2026-12-01T05:31:14",
    name: str = "sweep-tiny",
    comment: str = "",
) -> str:
    """Return a line of sacct."""
    return SEPARATOR.join((number, state, submitted, name, comment))
