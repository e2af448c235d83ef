"""Scores of packaged models on the test split, and a record of every read of that split.

Each read makes the scores a little less trustworthy. So every read is counted, and a model that
has been scored is not scored again without need.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.promotion.entities import package_digest
from sweeps.storage.paths import RunsPaths
from sweeps.storage.promotion_paths import ScoredPaths
from sweeps.storage.sweep import Sweep
from sweeps.text import count

TOLERANCE = 1e-6
"""Two values this close count as equal: the last bits may differ between machines."""


@dataclass(frozen=True)
class PackageScores:
    """The scores of a packaged model: `sweeps.trainer.Scores`, as stored in a file.

    Attributes:
        scores: metrics by name.
        patients: the same metrics for each patient.
        intervals: 95 % confidence intervals (low, high) over patients, by metric.
        data: the test data.
        package: the digest of the package.
        time: when it was scored, in milliseconds since 1970.
    """

    scores: Mapping[str, float]
    patients: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    data: Mapping[str, Any]
    package: str
    time: int

    def differs_from(self, other: "PackageScores") -> list[str]:
        """Return a text for each metric whose two values differ by more than `TOLERANCE`."""
        return [
            f"{name} {value} and {other.scores.get(name)}"
            for name, value in self.scores.items()
            if abs(value - other.scores.get(name, float("inf"))) > TOLERANCE
        ]


def metric_on_test_split(metric: str) -> str:
    """Return the name on the test split of a validation metric: `test/x` for `val/x` and `x`."""
    return "test/" + (metric.partition("/")[2] or metric)


def score_or_read(
    sweep: Sweep, config: BaseModel, model: str, why: str, at: ScoredPaths
) -> PackageScores:
    """Return the stored scores of the package in `at`; score it if there are none.

    Raises:
        InputError: the package is damaged, or the data cannot be read.
    """
    content = atomic.read_json(at.scores)
    if content is None or content.get("package") != package_digest(at.package):
        scored = score_package(sweep, config, at.package, model, why, at.evaluation)
        atomic.write(at.scores, json.dumps(asdict(scored), indent=2))
        return scored
    return PackageScores(**content)


def score_package(
    sweep: Sweep, config: BaseModel, package: Path, model: str, why: str, out: Path
) -> PackageScores:
    """Score a package now. The read of the test split is recorded first.

    Args:
        sweep: the sweep whose trainer scores the package.
        config: the configuration of the trial that made the package; it says where the data are.
        package: the folder of the package.
        model: the name of the model in the record of reads.
        why: why it is scored, for the record of reads.
        out: the folder for figures and tables.

    Raises:
        InputError: the package is damaged, or the data cannot be read.
    """
    record_test_read(sweep.paths.runs, sweep.plan.fingerprint, model, why)
    out.mkdir(parents=True, exist_ok=True)
    try:
        found = sweep.resolved.trainer.evaluate(config, package, out)
    except ValueError as error:
        raise InputError(f"{model}: {error}") from error
    return PackageScores(
        scores=dict(found.scores),
        patients={name: dict(scores) for name, scores in found.patients.items()},
        intervals={name: (low, high) for name, (low, high) in found.intervals.items()},
        data=dict(found.data),
        package=package_digest(package),
        time=time.time_ns() // 1_000_000,
    )


@dataclass(frozen=True)
class SplitRead:
    """One pass of a model over a test split.

    Attributes:
        data: the fingerprint of the data.
        model: the name of the model that was scored.
        why: why it was scored.
        time: when it was scored, in seconds since 1970.
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
    """Return every pass over the test split of these data."""
    reads = (SplitRead(**content) for content in atomic.read_lines(runs.test_reads))
    return [read for read in reads if read.data == data]


def describe_reads(reads: Sequence[SplitRead]) -> str:
    """Return a sentence on how often the test split has been read, and for how many models."""
    models = len({read.model for read in reads})
    times = "once" if len(reads) == 1 else f"{len(reads)} times"
    return f"the test split of these data has been read {times}, for {count(models, 'model')}"
