"""The gate: whether a candidate may replace the champion. It is a function of scores alone.

Images of one patient are not independent, and another seed gives another result. So two models are
compared patient by patient, on the same test data, and the difference must be larger than the
standard deviation over seeds.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FEW_PATIENTS = 5
"""With fewer patients an interval over them means nothing; each one must improve instead."""
BOOTSTRAP_SAMPLES = 4000


@dataclass(frozen=True)
class ModelScores:
    """The scores of a model on the test split.

    Attributes:
        name: the name of the model in the text of a decision.
        scores: its metrics, by name.
        patients: the metric that is compared, for each patient.
        spread: the standard deviation of the validation metric over its seeds.
    """

    name: str
    scores: Mapping[str, float]
    patients: Mapping[str, float]
    spread: float


@dataclass(frozen=True)
class Check:
    """One condition: whether it holds, and a text with the values."""

    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """Whether a candidate may replace the champion, and why.

    Attributes:
        checks: every condition.
        evidence: how many patients and seeds the decision rests on.
        forced: the reason given with --force for promoting although a check failed; empty
            otherwise.
        by: the user who ran the promotion.
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

    def summary(self) -> str:
        """Return in one sentence why the version was registered, with what was checked."""
        if self.forced:
            failed = "; ".join(check.text for check in self.checks if not check.passed)
            return f"promoted by {self.by} although a check failed ({failed}): {self.forced}"
        if not self.checks:
            return "promoted without a check: no floor is set, and there was no champion to compare"
        checks = "; ".join(check.text for check in self.checks)
        return f"passed every check of the promotion ({checks})"

    def lines(self) -> list[str]:
        """Return the decision as lines of text."""
        marks = [f"  {'✓' if check.passed else '✗'} {check.text}" for check in self.checks]
        forced = [f"  ! promoted anyway by {self.by}: {self.forced}"] if self.forced else []
        return [*marks, *forced, f"  this decision is based on {self.evidence}"]


def check_floors(candidate: ModelScores, floors: Mapping[str, float]) -> list[Check]:
    """Return, for each metric that has a floor, whether the candidate reaches it."""
    checks = []
    for name, floor in floors.items():
        value = candidate.scores.get(name)
        if value is None:
            checks.append(Check(False, f"{name} was not measured; at least {floor:g} is required"))
        else:
            checks.append(
                Check(
                    value >= floor,
                    f"{name} is {value:.4f}, and at least {floor:g} is required",
                )
            )
    return checks


def check_beats(candidate: ModelScores, champion: ModelScores, metric: str, sign: int) -> Check:
    """Return whether the candidate is better than the champion, beyond the effect of seeds.

    The gain must be larger than the standard deviation over seeds: for each patient, if there are
    fewer than `FEW_PATIENTS`; otherwise at the lower end of the interval of the mean gain.

    Args:
        candidate: the scores of the proposed model.
        champion: the scores of the model in use, on the same data.
        metric: the name of the metric in `patients`.
        sign: 1 if a higher value is better, -1 if a lower one is.
    """
    names = sorted(candidate.patients)
    gains = [sign * (candidate.patients[name] - champion.patients[name]) for name in names]
    spread = max(candidate.spread, champion.spread)
    mean = statistics.fmean(gains)
    word = "better" if mean > 0 else "worse"
    gain = f"{metric} is {abs(mean):.4f} {word} than that of {champion.name}"
    required = f"more than {spread:.4f} is required, the standard deviation over seeds"
    if len(gains) < FEW_PATIENTS:
        each = ", ".join(f"{name} {value:+.4f}" for name, value in zip(names, gains, strict=True))
        return Check(min(gains) > spread, f"{gain} ({each}), and for each patient {required}")
    low, high = confidence_interval(gains)
    return Check(
        low > spread,
        f"{gain} (95 % interval {low:+.4f} to {high:+.4f}), and for its low end {required}",
    )


def confidence_interval(gains: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean gain over patients (bootstrap with a fixed seed)."""
    generator = random.Random(0)  # noqa: S311 (not used for secrets)
    means = sorted(
        statistics.fmean(generator.choices(gains, k=len(gains))) for _ in range(BOOTSTRAP_SAMPLES)
    )
    return means[int(0.025 * BOOTSTRAP_SAMPLES)], means[int(0.975 * BOOTSTRAP_SAMPLES) - 1]


def describe_evidence(patients: int, seeds: int, profile: str) -> str:
    """Return how many patients and seeds a decision rests on, with a warning if they are few."""
    noun = "patient" if patients == 1 else "patients"
    few = "" if patients >= FEW_PATIENTS else ", which is little: another patient may change it"
    return f"{patients} {noun}{profile} and {seeds} seeds{few}"
