"""Which of many trials are shown where not all of them fit, and a line about the others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.config.experiment import Objective
from sweeps.monitor.sweep_status import TrialStatus

_OPEN = {"running", "waiting", "stopped"}


@dataclass(frozen=True)
class Selection:
    """The trials that are shown, and those that are not, by state."""

    shown: Sequence[TrialStatus]
    hidden: Counter[str]

    def line(self) -> str:
        """Return how many trials are not shown, by state; empty if all are."""
        if not self.hidden:
            return ""
        states = ", ".join(f"{number:,} {state}" for state, number in sorted(self.hidden.items()))
        return f"… and {self.hidden.total():,} more: {states}"


def select_latest(trials: Sequence[TrialStatus], rows: int | None) -> Selection:
    """Return the running trials, the best, then the latest, by number: what happens now.

    Args:
        trials: the trials of a sweep.
        rows: how many are shown; None for all.
    """
    return _selection(trials, rows, [t for t in trials if t.state not in _OPEN][::-1])


def select_best(trials: Sequence[TrialStatus], objective: Objective, rows: int | None) -> Selection:
    """Return the best trials, the best first, then the open ones, then the latest failures.

    Open trials get half of the rows at most, and failures a quarter, unless others are too few.

    Args:
        trials: the trials of a sweep.
        objective: what is optimized.
        rows: how many are shown; None for all.
    """
    if rows is None or len(trials) <= rows:
        return Selection(trials, Counter())
    quarter = max(1, rows // 4)
    failed = [t for t in trials if t.state == "failed"][-quarter:]
    ranked = sorted(
        (t for t in trials if t.state == "complete" and t.best is not None),
        key=lambda trial: -objective.sign * (trial.best or 0.0),
    )
    found = _selection(trials, rows, [*failed, *ranked], most_open=2 * quarter)
    rank = {trial.name: at for at, trial in enumerate([*ranked, *_open(trials)])}
    shown = sorted(found.shown, key=lambda trial: rank.get(trial.name, len(trials)))
    return Selection(shown, found.hidden)


def _selection(
    trials: Sequence[TrialStatus],
    rows: int | None,
    others: Sequence[TrialStatus],
    most_open: int | None = None,
) -> Selection:
    if rows is None or len(trials) <= rows:
        return Selection(trials, Counter())
    best = [t for t in trials if t.is_best]
    ordered = [*best, *list(_open(trials))[:most_open], *others, *reversed(trials)]
    names = list(dict.fromkeys(trial.name for trial in ordered))[:rows]
    chosen = frozenset(names)
    hidden = Counter(t.state for t in trials if t.name not in chosen)
    return Selection([t for t in trials if t.name in chosen], hidden)


def _open(trials: Sequence[TrialStatus]) -> Iterator[TrialStatus]:
    """Yield the running trials, then those without a worker."""
    yield from (t for t in trials if t.state == "running")
    yield from (t for t in trials if t.state in _OPEN and t.state != "running")
