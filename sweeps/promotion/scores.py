"""Scores of packaged models on the test split, and how often that was read.

Each read makes the figures worth a little less, so every one is counted, and none is made twice.
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
from sweeps.promotion.entities import ScoredPaths, package_digest
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep

TOLERANCE = 1e-6
"""How near a figure has to be to count as the same: the last bits may differ between machines."""


@dataclass(frozen=True)
class PackageScores:
    """What a packaged model was found to be worth; `sweeps.trainer.Scores` as kept in a file.

    Attributes:
        scores: figures by name.
        patients: the same for each patient.
        intervals: where 95 of 100 values lie if other patients had been drawn.
        data: what was scored on.
        package: the digest of what was scored.
        time: when, in milliseconds since 1970.
    """

    scores: Mapping[str, float]
    patients: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    data: Mapping[str, Any]
    package: str
    time: int

    def differs_from(self, other: "PackageScores") -> list[str]:
        """The figures that two scorings do not agree on."""
        return [
            f"{name} {value} and {other.scores.get(name)}"
            for name, value in self.scores.items()
            if abs(value - other.scores.get(name, float("inf"))) > TOLERANCE
        ]


def metric_on_test_split(metric: str) -> str:
    """What a validation figure is called on the test split."""
    return "test/" + metric.partition("/")[2]


def score_or_read(
    sweep: Sweep, config: BaseModel, model: str, why: str, at: ScoredPaths
) -> PackageScores:
    """Score the package in `at`, or tell what it was found to be worth before.

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
    """Score a package now. The read of the test split is counted first.

    Args:
        sweep: whose trainer and whose data.
        config: of the trial that the package was made in; it says where the data lie.
        package: the package's folder.
        model: what to call the model in the count of reads.
        why: as what it is scored.
        out: where pictures and tables go.

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
