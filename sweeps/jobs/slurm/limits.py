"""The limits of a user's jobs, by SLURM's names, as accounting knows them."""

from collections.abc import Iterator, Mapping, Sequence

_NAMES = ("MaxJobs", "MaxSubmit", "MaxWall", "GrpJobs", "GrpSubmit")
LIMITS_COMMAND = (
    *("sacctmgr", "-nP", "show", "assoc"),
    f"format=account,partition,qos,{','.join(_NAMES)}",
)
"""The command, without the user, as `user=name`."""


def read_limits(text: str) -> Sequence[Mapping[str, str]]:
    """Return what the answer of LIMITS_COMMAND says of each account; other lines are ignored.

    The keys are `account`, `partition`, `qos`, and the limits by SLURM's names.
    """
    keys = ("account", "partition", "qos", *_NAMES)
    rows = (line.strip().split("|") for line in text.splitlines())
    return [dict(zip(keys, row, strict=True)) for row in rows if len(row) == len(keys)]


def describe_limits(limits: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line for each account with limits; those of a QOS are not among them."""
    for row in limits:
        found = ", ".join(f"{name}={row[name]}" for name in _NAMES if row[name])
        if found:
            where = f" in partition {row['partition']}" if row["partition"] else ""
            yield f"account {row['account']}{where}: {found}; a QOS may have further ones"
