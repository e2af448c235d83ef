"""What SLURM is asked: the commands, and the environment in which they are run.

The text is asked for in fixed fields with a separator of its own, the free text last, so that no
comment can be taken for something else (`answers.py` reads it). All of it is the same from SLURM
19.05 on: `squeue --me`, for example, is newer.
"""

import os
from collections.abc import Iterable

from sweeps.jobs.slurm.answers import LIMIT_NAMES, SEPARATOR, START

PARTITIONS = ("scontrol", "show", "partition", "--all", "--oneliner")
"""`--all`: an ordinary user is told of a hidden partition, which she may use, only if she asks."""
CONFIGURATION = ("scontrol", "show", "config")
_QUEUE_FORMAT = START + SEPARATOR.join(("%i", "%T", "%V", "%L", "%N", "%r", "%j", "%k"))
_ACCOUNTING_FORMAT = "JobID,State,Submit,JobName,Comment"
_ASSOCIATION_FORMAT = "format=cluster,defaultaccount,account,qos"
_LIMIT_FORMAT = f"format=account,partition,qos,{','.join(LIMIT_NAMES)}"


def queue() -> tuple[str, ...]:
    """Return the squeue that lists this user's jobs, also those that ended in the last minutes.

    The user is asked for by number: several names may have the same one, and SLURM knows one.
    """
    who = f"--user={os.getuid()}"
    return ("squeue", who, "--all", "--states=all", "--noheader", "--array", f"-o{_QUEUE_FORMAT}")


def accounting(numbers: Iterable[str]) -> tuple[str, ...]:
    """Return the sacct that tells how jobs ended."""
    which = f"--jobs={','.join(numbers)}"
    return ("sacct", "-nPX", which, f"--delimiter={SEPARATOR}", f"--format={_ACCOUNTING_FORMAT}")


def associations(user: str) -> tuple[str, ...]:
    """Return the sacctmgr that tells which accounts and QOS a user may use."""
    return ("sacctmgr", "-nP", "show", "user", user, "withassoc", _ASSOCIATION_FORMAT)


def limits(user: str) -> tuple[str, ...]:
    """Return the sacctmgr that tells the limits of a user's accounts."""
    return ("sacctmgr", "-nP", "show", "assoc", _LIMIT_FORMAT, f"user={user}")


def query_environment() -> dict[str, str]:
    """Return the environment for a command of SLURM.

    A person's own `SQUEUE_STATES`, `SQUEUE_PARTITION` and the like would hide jobs, and a time
    in the local zone is ambiguous for an hour each year.
    """
    own = ("SQUEUE_", "SACCT_", "SCONTROL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"TZ": "UTC", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
