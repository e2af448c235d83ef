"""How often the test split was read: each look at it makes its figures worth a little less."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.storage.paths import RunsPaths


@dataclass(frozen=True)
class SplitRead:
    """One pass of a model over a test split.

    Attributes:
        data: the fingerprint of the data.
        model: what was scored.
        why: as what.
        time: when, in seconds since 1970.
    """

    data: str
    model: str
    why: str
    time: float


def record_test_read(runs: RunsPaths, data: str, model: str, why: str) -> None:
    """Record that the test split is about to be read."""
    runs.test_reads.parent.mkdir(parents=True, exist_ok=True)
    with Lock(runs.test_reads.with_suffix(".lock")).hold():  # several sweeps share the file
        line = json.dumps(asdict(SplitRead(data, model, why, time.time())))
        atomic.append(runs.test_reads, line)


def reads_of_test_split(runs: RunsPaths, data: str) -> Sequence[SplitRead]:
    """Every pass over the test split of these data."""
    reads = (SplitRead(**content) for content in atomic.read_lines(runs.test_reads))
    return [read for read in reads if read.data == data]


def describe_reads(reads: Sequence[SplitRead]) -> str:
    """How often, in words."""
    models = len({read.model for read in reads})
    times = "once" if len(reads) == 1 else f"{len(reads)} times"
    return f"the test split of these data has been read {times}, for {_count(models, 'model')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
