"""The gate: whether a candidate may replace the champion. A function of figures alone.

Images of one patient are not independent, and a training is one draw of a seed. So two models are
compared patient by patient, on the same test data, and the difference has to be larger than what
another seed would make of it.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FEW_PATIENTS = 5
"""With fewer, an interval over patients means nothing: each of them has to improve instead."""
BOOTSTRAP_SAMPLES = 4000


@dataclass(frozen=True)
class Figures:
    """A model on the test split.

    Attributes:
        name: what it is called where a decision is read.
        scores: its figures.
        patients: the figure that is compared, for each patient.
        spread: the standard deviation of the validation figure over its seeds.
    """

    name: str
    scores: Mapping[str, float]
    patients: Mapping[str, float]
    spread: float


@dataclass(frozen=True)
class Check:
    """One condition, and what was found."""

    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """Whether a candidate may replace the champion, and why.

    Attributes:
        checks: every condition.
        stands_on: how much data that is.
        forced: the reason that somebody gave for promoting in spite of it; empty otherwise.
        by: who gave it.
    """

    checks: Sequence[Check]
    evidence: str
    forced: str = ""
    by: str = ""

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return all(check.passed for check in self.checks)

    @property
    def promote(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.passed or bool(self.forced)

    def lines(self) -> list[str]:
        """The decision as a person reads it."""
        marks = [f"  {'✓' if check.passed else '✗'} {check.text}" for check in self.checks]
        forced = [f"  ! promoted all the same by {self.by}: {self.forced}"] if self.forced else []
        return [*marks, *forced, f"  this stands on {self.evidence}"]


def check_floors(candidate: Figures, floors: Mapping[str, float]) -> list[Check]:
    """Whether each figure that has a floor reaches it."""
    checks = []
    for name, floor in floors.items():
        value = candidate.scores.get(name)
        if value is None:
            checks.append(Check(False, f"{name}: not measured, and {floor:g} is asked for"))
        else:
            checks.append(Check(value >= floor, f"{name} {value:.4f}, at least {floor:g}"))
    return checks


def check_beats(candidate: Figures, champion: Figures, metric: str, sign: int) -> Check:
    """Whether the candidate is better than the champion by more than patients and seeds scatter.

    Args:
        candidate: the model that is put up.
        champion: the one in use, scored on the same data.
        metric: what `patients` is.
        sign: 1 where more is better, -1 where less is.
    """
    names = sorted(candidate.patients)
    gains = [sign * (candidate.patients[name] - champion.patients[name]) for name in names]
    spread = max(candidate.spread, champion.spread)
    mean = statistics.fmean(gains)
    head = f"{metric} {mean:+.4f} against {champion.name}"
    asked = f"more than the seeds' spread of {spread:.4f} is asked for"
    if len(gains) < FEW_PATIENTS:
        each = ", ".join(f"{name} {gain:+.4f}" for name, gain in zip(names, gains, strict=True))
        return Check(min(gains) > spread, f"{head}; of each patient {asked}: {each}")
    low, high = confidence_interval(gains)
    return Check(low > spread, f"{head}, 95 % interval {low:+.4f} to {high:+.4f}; {asked} below it")


def confidence_interval(gains: Sequence[float]) -> tuple[float, float]:
    """Where 95 of 100 mean gains lie if other patients had been drawn (bootstrap, fixed seed)."""
    drawing = random.Random(0)  # noqa: S311 (nothing secret is drawn)
    means = sorted(
        statistics.fmean(drawing.choices(gains, k=len(gains))) for _ in range(BOOTSTRAP_SAMPLES)
    )
    return means[int(0.025 * BOOTSTRAP_SAMPLES)], means[int(0.975 * BOOTSTRAP_SAMPLES) - 1]


def describe_evidence(patients: int, seeds: int, profile: str) -> str:
    """How much data a decision has below it, with a warning where that is little."""
    noun = "patient" if patients == 1 else "patients"
    few = "" if patients >= FEW_PATIENTS else ", which is little: another patient may turn it over"
    return f"{patients} {noun}{profile} and {seeds} seeds{few}"
