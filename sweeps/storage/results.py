"""What a sweep amounts to: how its trials ended, what they cost, and which one is best."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeps.config.experiment import Objective
from sweeps.storage.paths import TrialPaths
from sweeps.storage.trial_record import State, TrialSnapshot


@dataclass(frozen=True)
class Totals:
    """Figures of a whole sweep.

    Attributes:
        states: how many trials there are in each state.
        best: the complete trial with the best value; None while there is none.
        value: that trial's value.
        hours: time inside epochs, over all trials.
        hours_saved: what pruned trials would have taken on top, at their own pace.
    """

    states: dict[State, int]
    best: TrialPaths | None
    value: float | None
    hours: float
    hours_saved: float

    def figures(self) -> dict[str, float]:
        """All numbers, by name."""
        states = {f"trials_{state.value}": float(self.states.get(state, 0)) for state in State}
        value = {} if self.value is None else {"best": self.value}
        return states | value | {"hours": self.hours, "hours_saved_by_pruning": self.hours_saved}


def compute_totals(looks: Sequence[TrialSnapshot], objective: Objective) -> Totals:
    """Count what a sweep's folders say."""
    states: Counter[State] = Counter()
    seconds = saved = 0.0
    for look in looks:
        result = look.result
        states[State.RUNNING if result is None else result.state] += 1
        seconds += sum(row.seconds for row in look.rows)
        saved += _seconds_saved(look)
    best, value = next(iter(rank_trials(looks, objective)), (None, None))
    return Totals(dict(states), best, value, seconds / 3600, saved / 3600)


def rank_trials(
    looks: Iterable[TrialSnapshot], objective: Objective
) -> list[tuple[TrialPaths, float]]:
    """Complete trials and their values, the best first; of equal ones the earlier."""
    complete = [
        (look.paths, look.result.value)
        for look in looks
        if look.result is not None
        and look.result.state is State.COMPLETE
        and look.result.value is not None
    ]
    return sorted(complete, key=lambda pair: (-objective.sign * pair[1], pair[0].number))


def _seconds_saved(look: TrialSnapshot) -> float:
    """Seconds that a pruned trial was spared, at its own pace."""
    if look.result is None or look.result.state is not State.PRUNED or not look.rows:
        return 0.0
    pace = sum(row.seconds for row in look.rows) / len(look.rows)
    return pace * (look.spec.epochs - len(look.rows))
