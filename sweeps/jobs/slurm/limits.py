"""The limits of a user's jobs, by SLURM's names, as accounting knows them."""

from collections.abc import Iterator, Mapping, Sequence

from sweeps.jobs.slurm.answers import LIMIT_NAMES


def describe_limits(limits: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line for each account with limits; those of a QOS are not among them."""
    for row in limits:
        found = ", ".join(f"{name}={row[name]}" for name in LIMIT_NAMES if row[name])
        if found:
            where = f" in partition {row['partition']}" if row["partition"] else ""
            yield f"account {row['account']}{where}: {found}; a QOS may have further ones"
