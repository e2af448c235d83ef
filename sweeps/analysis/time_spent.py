"""Findings about time: what training time was spent on, and how busy the workers were.

Only what the records hold is counted. They hold each finished epoch and the time of each claim, not
the wait in a scheduler's queue, and not the unfinished epoch in which a worker was lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.analysis.finding import Finding, Kind, percent
from sweeps.analysis.trials import SweepTrials
from sweeps.filesystem import atomic
from sweeps.storage.paths import AttemptPaths
from sweeps.storage.trial_record import State, TrialSnapshot
from sweeps.text import count, duration
from sweeps.trainer import FinishedEpoch

_SPENT_ON = {
    State.COMPLETE: "in complete trials",
    State.PRUNED: "in pruned trials",
    State.DIVERGED: "in diverged trials",
    State.FAILED: "in failed trials",
    State.RUNNING: "in trials that have not ended",
}


@dataclass(frozen=True)
class AttemptEpochs:
    """What one attempt computed.

    Attributes:
        worker: its worker's process; two that are equal are the same process.
        claimed: when it claimed the trial, in seconds since 1970.
        rows: the epochs that it computed itself.
        ended_by_release: whether its worker released the trial, at a time limit for example.
    """

    worker: str
    claimed: float
    rows: Sequence[FinishedEpoch]
    ended_by_release: bool


@dataclass(frozen=True)
class TimeSpent:
    """The time that epochs took, in seconds.

    Attributes:
        by_state: in epochs that count, by the state of their trial.
        repeated: in epochs that were trained again later.
        repeated_epochs: how many these are.
        lost_workers: attempts that ended without a result and without a release.
        in_epochs: in epochs that ended while their worker had the trial.
        of_workers: from the first claim of each worker to the end of its last epoch.
    """

    by_state: dict[State, float]
    repeated: float
    repeated_epochs: int
    lost_workers: int
    in_epochs: float
    of_workers: float

    @property
    def total(self) -> float:
        """All seconds in finished epochs."""
        return sum(self.by_state.values()) + self.repeated


def time_findings(trials: SweepTrials) -> Iterator[Finding]:
    """Yield what the time was spent on; nothing if no epoch has ended."""
    spent = time_spent(trials.snapshots)
    if not spent.total:
        return
    yield _outcomes(spent)
    if spent.lost_workers:
        yield _lost(spent)
    if spent.of_workers:
        share = percent(spent.in_epochs, spent.of_workers)
        text = (
            f"Workers were in epochs for {share} of the time from their first trial to their last "
            "epoch; the rest is the start of trials, saving and waiting."
        )
        numbers = {"in_epochs": spent.in_epochs, "of_workers": spent.of_workers}
        yield Finding(Kind.UTILISATION, text, numbers)


def _outcomes(spent: TimeSpent) -> Finding:
    parts = [(spent.by_state.get(state, 0.0), where) for state, where in _SPENT_ON.items()]
    parts.append((spent.repeated, "in epochs that were trained again"))
    shares = [f"{percent(seconds, spent.total)} {where}" for seconds, where in parts if seconds]
    text = f"Epochs took {duration(spent.total)} in all: {', '.join(shares)}."
    numbers = {state.value: seconds for state, seconds in spent.by_state.items()}
    return Finding(Kind.TIME, text, {**numbers, "repeated": spent.repeated, "total": spent.total})


def _lost(spent: TimeSpent) -> Finding:
    text = f"{count(spent.lost_workers, 'attempt')} at a trial ended with the loss of the worker"
    again = (
        f"; {count(spent.repeated_epochs, 'epoch')} ({duration(spent.repeated)}) had to be trained "
        "again."
        if spent.repeated_epochs
        else "; no finished epoch had to be trained again."
    )
    numbers = {"lost": spent.lost_workers, "repeated_epochs": spent.repeated_epochs}
    return Finding(Kind.REPEATED, text + again, numbers)


def time_spent(snapshots: Sequence[TrialSnapshot]) -> TimeSpent:
    """Return what the time in epochs was spent on."""
    by_state: dict[State, float] = {}
    repeated: list[float] = []
    every: list[AttemptEpochs] = []
    lost = 0
    for snapshot in snapshots:
        state = State.RUNNING if snapshot.result is None else snapshot.result.state
        seconds = sum(row.seconds for row in snapshot.rows)
        by_state[state] = by_state.get(state, 0.0) + seconds
        attempts = read_attempts(snapshot)
        every += attempts
        kept = {(row.epoch, row.timestamp) for row in snapshot.rows}
        repeated += [
            row.seconds
            for attempt in attempts
            for row in attempt.rows
            if (row.epoch, row.timestamp) not in kept
        ]
        lost += sum(not attempt.ended_by_release for attempt in attempts[:-1])
    in_epochs, of_workers = _worker_seconds(every)
    return TimeSpent(by_state, sum(repeated), len(repeated), lost, in_epochs, of_workers)


def read_attempts(snapshot: TrialSnapshot) -> list[AttemptEpochs]:
    """Return what each attempt at a trial computed, in order.

    An attempt that continues from a checkpoint may record its epoch again, with the same time.
    """
    found = snapshot.paths.attempts()
    if len(found) == 1:
        return [_attempt(found[0], snapshot.rows)]
    seen: set[tuple[int, int]] = set()
    attempts = []
    for paths in found:
        rows = [FinishedEpoch(**content) for content in atomic.read_lines(paths.metrics)]
        new = [row for row in rows if (row.epoch, row.timestamp) not in seen]
        seen |= {(row.epoch, row.timestamp) for row in new}
        attempts.append(_attempt(paths, new))
    return attempts


def _attempt(paths: AttemptPaths, rows: Sequence[FinishedEpoch]) -> AttemptEpochs:
    claim = atomic.read_json(paths.claim) or {}
    worker = "/".join(str(claim.get(name, "")) for name in ("machine", "pid", "started"))
    return AttemptEpochs(worker, float(claim.get("time", 0.0)), rows, paths.released.exists())


def _worker_seconds(attempts: Sequence[AttemptEpochs]) -> tuple[float, float]:
    """Return the seconds that workers were in epochs, and from first claim to last epoch.

    A worker that finished no epoch has no known end, so it does not count.
    """
    by_worker: dict[str, list[AttemptEpochs]] = {}
    for attempt in attempts:
        by_worker.setdefault(attempt.worker, []).append(attempt)
    in_epochs = of_workers = 0.0
    for own in by_worker.values():
        rows = [row for attempt in own for row in attempt.rows]
        if not rows:
            continue
        began = min(attempt.claimed for attempt in own)
        span = max(row.timestamp for row in rows) / 1000 - began
        seconds = sum(row.seconds for row in rows)
        in_epochs += seconds
        of_workers += max(span, seconds)  # clocks are not exact
    return in_epochs, of_workers
