"""What several workers in one job are worth: epochs an hour, by how many worked at a time.

Measured by the trials themselves. A claim says in which job an attempt was made, its rows when
each epoch ended and how long it took; so it is known how many attempts of a job were under way at
any moment, and what they got done then. The trials' settings differ, so the figures are rough.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sweeps.filesystem import atomic
from sweeps.storage.paths import AttemptPaths, RunsPaths, SweepPaths
from sweeps.storage.sweep import open_sweep

ENOUGH_EPOCHS = 5.0
"""Fewer epochs with so many workers say nothing."""


@dataclass(frozen=True)
class Measured:
    """What jobs did while so many of their workers were at work.

    Attributes:
        epochs: that were trained, parts of one included.
        seconds: for how long.
    """

    epochs: float = 0.0
    seconds: float = 0.0

    @property
    def an_hour(self) -> float:
        """Epochs an hour, of all workers together."""
        return 3600 * self.epochs / self.seconds

    def and_also(self, epochs: float, seconds: float) -> "Measured":
        """With more of the same."""
        return Measured(self.epochs + epochs, self.seconds + seconds)


@dataclass(frozen=True)
class _Epoch:
    start: float
    end: float

    def share(self, start: float, end: float) -> float:
        """How much of the epoch was trained between two moments."""
        inside = min(end, self.end) - max(start, self.start)
        return max(0.0, inside) / max(1e-9, self.end - self.start)


def in_words(paths: SweepPaths, trainer: str, place: str) -> str:
    """What is known for this sweep, or else of others with the same trainer; or how to find out."""
    for sweep in _those_that_may_know(paths, trainer):
        known = {n: m for n, m in measured(sweep).items() if m.epochs >= ENOUGH_EPOCHS}
        if known:
            return f"workers side by side {place}, in {sweep.name}: {_listed(known)}"
    how = "run some trials with workers = 1 and some with workers = 2 in the cluster file"
    return f"how many workers are worth it {place} is not known yet: {how}"


def measured(paths: SweepPaths) -> Mapping[int, Measured]:
    """What a sweep's jobs got done, by how many of a job's workers were at work."""
    jobs: dict[str, list[list[_Epoch]]] = defaultdict(list)
    for trial in paths.trials():
        for attempt in trial.attempts():
            if epochs := list(_epochs(attempt)):
                jobs[atomic.read_json(attempt.claim)["job"]].append(epochs)
    found: dict[int, Measured] = defaultdict(Measured)
    for attempts in jobs.values():
        for workers, epochs_done, seconds in _pieces(attempts):
            found[workers] = found[workers].and_also(epochs_done, seconds)
    return dict(sorted(found.items()))


def _pieces(attempts: Sequence[Sequence[_Epoch]]) -> Iterable[tuple[int, float, float]]:
    """A job's time, cut wherever an attempt began or ended: workers, epochs, seconds of each."""
    spans = [(epochs[0].start, epochs[-1].end) for epochs in attempts]
    cuts = sorted({moment for span in spans for moment in span})
    for start, end in pairwise(cuts):
        at_work = [k for k, span in enumerate(spans) if span[0] < end and span[1] > start]
        if at_work:
            shares = (epoch.share(start, end) for k in at_work for epoch in attempts[k])
            yield len(at_work), sum(shares), end - start


def _epochs(attempt: AttemptPaths) -> Iterable[_Epoch]:
    for row in atomic.read_lines(attempt.metrics):
        end = row["timestamp"] / 1000
        yield _Epoch(end - row["seconds"], end)


def _those_that_may_know(paths: SweepPaths, trainer: str) -> Iterable[SweepPaths]:
    yield paths
    for other in reversed(RunsPaths(paths.runs).sweeps()):
        if other != paths and open_sweep(other).experiment.trainer == trainer:
            yield other


def _listed(known: Mapping[int, Measured]) -> str:
    fewest = min(known)
    parts = []
    for workers, found in known.items():
        beside = found.an_hour / known[fewest].an_hour
        times = "" if workers == fewest else f" ({beside:.2f} times that)"
        plural = "s" if workers > 1 else ""
        parts.append(f"{workers} worker{plural} {found.an_hour:.0f} epochs an hour{times}")
    alone = "; nothing to compare it with: give another number as workers"
    return ", ".join(parts) + ("; settings differ between trials" if len(parts) > 1 else alone)
