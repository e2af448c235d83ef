"""The results of a sweep: how its trials ended, how long they took, and which one is best."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeps.config.experiment import Objective
from sweeps.storage.paths import TrialPaths
from sweeps.storage.trial_record import State, TrialSnapshot


@dataclass(frozen=True)
class Totals:
    """The totals of a sweep.

    Attributes:
        states: the number of trials in each state.
        best: the complete trial with the best value; None while there is none.
        value: that trial's value.
        hours: time spent in epochs, over all trials, in hours.
        hours_saved: hours that pruned trials would still have taken, at their own speed.
    """

    states: dict[State, int]
    best: TrialPaths | None
    value: float | None
    hours: float
    hours_saved: float

    def metrics(self) -> dict[str, float]:
        """Return all numbers by name."""
        states = {f"trials_{state.value}": float(self.states.get(state, 0)) for state in State}
        value = {} if self.value is None else {"best": self.value}
        return states | value | {"hours": self.hours, "hours_saved_by_pruning": self.hours_saved}


def compute_totals(snapshots: Sequence[TrialSnapshot], objective: Objective) -> Totals:
    """Return the totals of a sweep from the snapshots of its trials."""
    states: Counter[State] = Counter()
    seconds = saved = 0.0
    for snapshot in snapshots:
        result = snapshot.result
        states[State.RUNNING if result is None else result.state] += 1
        seconds += sum(row.seconds for row in snapshot.rows)
        saved += _seconds_saved(snapshot)
    best, value = next(iter(rank_trials(snapshots, objective)), (None, None))
    return Totals(dict(states), best, value, seconds / 3600, saved / 3600)


def rank_trials(
    snapshots: Iterable[TrialSnapshot], objective: Objective
) -> list[tuple[TrialPaths, float]]:
    """Return complete trials with their values, the best first; of equal ones the earlier first."""
    complete = [
        (snapshot.paths, snapshot.result.value)
        for snapshot in snapshots
        if snapshot.result is not None
        and snapshot.result.state is State.COMPLETE
        and snapshot.result.value is not None
    ]
    return sorted(complete, key=lambda pair: (-objective.sign * pair[1], pair[0].number))


def _seconds_saved(snapshot: TrialSnapshot) -> float:
    """Return how many seconds a pruned trial would still have taken, at its own speed."""
    if snapshot.result is None or snapshot.result.state is not State.PRUNED or not snapshot.rows:
        return 0.0
    epoch_seconds = sum(row.seconds for row in snapshot.rows) / len(snapshot.rows)
    return epoch_seconds * (snapshot.spec.epochs - len(snapshot.rows))
