"""How SLURM's answers are read: pure functions from the text of a command to values.

The commands are in `queries.py`. An answer may have lines that nobody asked for: the banner of a
site's wrapper, blank lines, the rest of a comment with line breaks. A line that does not have the
form that was asked for is passed over.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sweeps.config.cluster import parse_seconds

START = "sweeps-job=:="
"""What each line about a job begins with."""
SEPARATOR = "=:="
"""What stands between two fields. No shell changes it, should a wrapper hand the text to one."""
LIMIT_NAMES = ("MaxJobs", "MaxSubmit", "MaxWall", "GrpJobs", "GrpSubmit")
"""The limits of an account that are asked for."""
MAX_TASKS = 100_000
"""How many tasks of one line are read: `12_[0-4000000]` is another program's array."""
FINAL_STATES = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    }
)
"""The states of a job that has ended. One in an unknown state counts as not ended."""

_ID = re.compile(r"(\d+)(?:_(?P<task>\d+)|_\[(?P<tasks>[\d,:-]*)[.]*(?:%\d+)?\]|(?P<het>\+\d+))?")
_SENTENCE = re.compile(r"Submitted batch job (\d+)(?: on cluster (\S+))?")
_PARSABLE = re.compile(r"(\d+)(?:;(\S+))?")
_SETTING = re.compile(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_CLUSTER_LINE = re.compile(r"CLUSTER: (\S+)")
_CLUSTER_NAME = re.compile(r"^\s*ClusterName\s*=\s*([^\s#]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class QueueEntry:
    """A job of this user that SLURM knows.

    Attributes:
        id: the job's id; a task of an array has its own, `12_3`.
        state: SLURM's state: `PENDING`, `RUNNING` and so on.
        submitted_at: when it was submitted or requeued, in seconds since 1970; None if unknown.
        seconds_left: seconds until its time limit; None if SLURM does not give them.
        node: the node that runs the job; empty while it is pending.
        reason: SLURM's reason why the job is pending.
        name: the job's name.
        comment: the first line of the comment given at submission.
        cluster: the cluster that SLURM names before the job; empty if it names none.
    """

    id: str
    state: str
    submitted_at: float | None
    seconds_left: float | None
    node: str
    reason: str
    name: str
    comment: str
    cluster: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether the job has not started, or was requeued."""
        return self.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended; SLURM knows it for some minutes more."""
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class Association:
    """What the user may use in one account, of all rows about it together.

    Attributes:
        default: the account of a job that names none.
        accounts: all accounts that the user may use.
        qos: the names of the QOS that each account may use.
    """

    default: str
    accounts: frozenset[str]
    qos: Mapping[str, frozenset[str]]


def read_queue_answer(text: str) -> list[QueueEntry]:
    """Return the jobs in an answer of `queries.queue`; each task of an array is one."""
    found: list[QueueEntry] = []
    cluster = ""
    for line in text.split("\n"):
        if (header := _CLUSTER_LINE.fullmatch(line.strip())) is not None:
            cluster = header[1]
        fields = _fields(line, 8)
        if fields is None:
            continue
        numbers, state, submitted, left, node, reason, name, comment = fields
        found += [
            QueueEntry(
                number, read_state(state), read_time(submitted), read_seconds(left), node, reason,
                name, "" if comment == "(null)" else comment, cluster,
            )
            for number in read_ids(numbers)
        ]  # fmt: skip
    return found


def read_accounting(text: str) -> list[QueueEntry]:
    """Return the jobs in an answer of `queries.accounting`."""
    found: list[QueueEntry] = []
    for line in text.split("\n"):
        fields = line.strip().split(SEPARATOR, 4)
        if len(fields) == 5:
            numbers, state, submitted, name, comment = fields
            found += [
                QueueEntry(
                    number, read_state(state), read_time(submitted), None, "", "", name, comment
                )
                for number in read_ids(numbers)
                if state
            ]
    return found


def read_submission(text: str) -> tuple[str, str] | None:
    """Return the number and the cluster that sbatch's answer has; None if it is not understood.

    The number stands in sbatch's own sentence, or is all that `sbatch --parsable` prints: a number
    in a line beside others may be anything. The cluster, in small letters, is empty if sbatch does
    not name it.
    """
    single = _PARSABLE.fullmatch(text.strip())
    found = [*_SENTENCE.finditer(text), *([single] if single else [])]
    numbers = {(match[1], (match[2] or "").lower()) for match in found}
    return numbers.pop() if len(numbers) == 1 else None


def read_partitions(text: str) -> dict[str, dict[str, str]]:
    """Return the settings of each partition, by its name, from `queries.PARTITIONS`."""
    tables = (
        dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        for line in text.split("\n")
    )
    return {table["PartitionName"]: table for table in tables if table.get("PartitionName")}


def read_associations(text: str, cluster: str) -> Association | None:
    """Return what the user may use, from `queries.associations`; None if there is no accounting.

    Args:
        text: the answer.
        cluster: the cluster's name; empty if it is not known. Other clusters' rows do not count.
    """
    rows = [row for line in text.split("\n") if len(row := line.strip().split("|")) == 4]
    rows = [row for row in rows if row[2] and (row[0].lower() == cluster or not cluster)]
    if not rows:
        return None
    qos: dict[str, frozenset[str]] = {}
    for _, _, account, names in rows:  # one row for each partition, if they are limited by it
        found = frozenset(name for name in names.split(",") if name)
        qos[account.lower()] = qos.get(account.lower(), frozenset()) | found
    return Association(rows[0][1].lower(), frozenset(qos), qos)


def read_limits(text: str) -> list[dict[str, str]]:
    """Return the limits of each account, from `queries.limits`.

    The keys are `account`, `partition`, `qos`, and LIMIT_NAMES.
    """
    keys = ("account", "partition", "qos", *LIMIT_NAMES)
    rows = (line.strip().split("|") for line in text.split("\n"))
    return [dict(zip(keys, row, strict=True)) for row in rows if len(row) == len(keys)]


def read_configuration(text: str) -> dict[str, str]:
    """Return the values in an answer of `queries.CONFIGURATION`, by name."""
    return {found[1]: found[2] for found in _SETTING.finditer(text)}


def read_cluster_name(text: str) -> str:
    """Return the ClusterName in a configuration of SLURM, in small letters as SLURM itself has it.

    It is empty if there is none.
    """
    found = _CLUSTER_NAME.search(text)
    return "" if found is None else found[1].strip("\"'").lower()


def read_ids(text: str) -> list[str]:
    """Return the ids that a text of SLURM stands for: `12_[3-5%2]` is three; none if it is no id.

    Examples: `12`, `12_3`, `12_[1,3-5%2]`, `12_[0-15:4]`, and `12+1` for a part of a job.
    """
    found = _ID.fullmatch(text.strip())
    if found is None:
        return []
    if found["tasks"] is None:
        return [found[0]]
    return [f"{found[1]}_{task}" for task in _tasks(found["tasks"])]


def read_state(text: str) -> str:
    """Return SLURM's state in one word: `CANCELLED by 1000` and `CANCELLED+` are `CANCELLED`."""
    return (text.split() or ["UNKNOWN"])[0].rstrip("+")


def read_seconds(text: str) -> float | None:
    """Return a time that is left, in seconds; None for `UNLIMITED`, `NOT_SET`, `INVALID`."""
    try:
        return float(parse_seconds(text.strip()))
    except ValueError:
        return None


def read_time(text: str) -> float | None:
    """Return a point of time in seconds since 1970; None for `N/A`, `Unknown` and the like.

    The text is in UTC: `queries.query_environment` asks for that.
    """
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _fields(line: str, count: int) -> list[str] | None:
    """Return the fields of a line about a job; None if the line is about something else."""
    fields = line.partition(START)[2].split(SEPARATOR, count - 1)
    return [field.strip() for field in fields] if len(fields) == count else None


def _tasks(text: str) -> Iterator[int]:
    """Yield the indices in `1,3-5,10-20:5`; at most MAX_TASKS."""
    left = MAX_TASKS
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?(?::(\d+))?", part)
        if found is not None:
            first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
            tasks = range(first, last + 1, max(1, step))[:left]
            left -= len(tasks)
            yield from tasks
