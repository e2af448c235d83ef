"""A finding: one thing that the records of a sweep show, as a sentence and as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a finding is about."""

    BEST = "best"
    """Which trial is the best."""
    MARGIN = "margin"
    """How far it is ahead of the second best, beside the spread over seeds."""
    EDGE = "edge"
    """A value of the best trial is at the edge of the search space."""
    IMPORTANCE = "importance"
    """Which hyperparameter mattered most."""
    CHOICES = "choices"
    """How the choices of a parameter compare, if they are names, such as optimizers."""
    NUMBERS = "numbers"
    """The same for a list of numbers, such as batch sizes."""
    PRUNED_AHEAD = "pruned_ahead"
    """Pruned trials that were ahead of a complete one at the same epoch."""
    SAVED = "saved"
    """How much time pruning saved."""
    TIME = "time"
    """What the training time was spent on."""
    REPEATED = "repeated"
    """Epochs that were trained again, because a worker was lost."""
    UTILISATION = "utilisation"
    """How much of their time workers were in epochs."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: what it is about.
        text: one or two sentences in plain words, without a line end.
        numbers: the numbers that the text stands on, by name; times in seconds.
    """

    kind: Kind
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def score(value: float) -> str:
    """Return a value of the objective as text: four decimals, and more digits if it is small."""
    return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


def percent(part: float, whole: float) -> str:
    """Return a share as text; one that is not nothing is not shown as `0 %`."""
    share = 100 * part / whole
    return "less than 1 %" if 0 < share < 0.5 else f"{share:.0f} %"
