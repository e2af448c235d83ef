"""SLURM's configuration of a site, as far as a sweep differs by it, and SLURM's own words in it."""

import re
from collections.abc import Iterator, Mapping

VERSION = re.compile(r"slurm(-wlm)? \d+\.\d+\S*", re.IGNORECASE)
"""What `sbatch --version` and the like print, without asking the controller."""
_NO_ACCOUNTING = {"", "(null)", "accounting_storage/none"}
"""Without accounting SLURM prints the last of these, from 23.11 on the second one."""


def describe_configuration(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what a sweep does differently at this site: a name and one line for people.

    Args:
        values: what `answers.read_configuration` returned; a value that it lacks is passed over.
    """
    if (size := values.get("MaxArraySize", "")).isdecimal():
        yield "array size", f"at most {size} jobs in one array; more are sent in several arrays"
    if "JobRequeue" in values:
        own = "the sweep allows it for each of its jobs"
        off = values["JobRequeue"] == "0"
        yield "requeue", f"jobs may {'not ' if off else ''}be requeued by default; {own}"
    if (storage := values.get("AccountingStorageType")) is not None:
        if storage in _NO_ACCOUNTING:
            yield "accounting", "none: SLURM forgets how a job ended some minutes after its end"
        else:
            yield "accounting", storage
            yield "comments", _describe_comments(values)


def unexpected_lines(version: str) -> list[str]:
    """Return the lines that a site's wrapper adds to an answer, from that to `--version`."""
    lines = (line.strip() for line in version.splitlines())
    return [line for line in lines if line and not VERSION.fullmatch(line)]


def _describe_comments(values: Mapping[str, str]) -> str:
    # AccountingStoreFlags is of 21.08 and later; the other name is older.
    flags = values.get("AccountingStoreFlags", "")
    older = values.get("AccountingStoreJobComment", "").lower()
    if "job_comment" in flags or older in {"yes", "1"}:
        return "accounting keeps the comments of jobs"
    return "accounting does not keep the comments of jobs; the queue shows them"
