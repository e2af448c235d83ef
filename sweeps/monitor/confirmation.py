"""A confirmation for people: which trials it trains again, with which seeds, and how far it is.

Its trials differ in their seed alone, so "the best so far" says nothing about them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeps.analysis.trials import confirmed_seed
from sweeps.config.space import Scalar, Values
from sweeps.monitor.time_left import TimeLeft, open_seconds
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.progress import Progress
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import TrialSnapshot, is_abandoned, read_result, read_spec
from sweeps.text import count, on_own_line


@dataclass(frozen=True)
class ConfirmedTrial:
    """A trial of the search that is trained again.

    Attributes:
        name: its name; empty if it is not there any more.
        seeds: the seeds with which it is trained again.
        done: how many of these trainings have ended.
    """

    name: str
    seeds: tuple[int, ...]
    done: int


@dataclass(frozen=True)
class ConfirmationStatus:
    """The state of a confirmation: the sweep that it belongs to, and the trials of that sweep."""

    search: str
    trials: tuple[ConfirmedTrial, ...]

    def lines(self) -> list[str]:
        """Return a line for each trial: which one, with which seeds, and how many are done."""
        return [
            f"{_named(trial.name)} of {self.search}, trained again with {_seeds(trial.seeds)}: "
            f"{trial.done} of {len(trial.seeds)} done"
            for trial in self.trials
        ]


def _named(name: str) -> str:
    return f"trial {name}" if name else "a removed trial"


def _seeds(seeds: Sequence[int]) -> str:
    listed = ", ".join(map(str, seeds))
    return f"seed {listed}" if len(seeds) == 1 else f"the seeds {listed}"


def confirmation_status(
    sweep: Sweep, snapshots: Sequence[TrialSnapshot]
) -> ConfirmationStatus | None:
    """Return how a confirmation stands; None if the sweep is a search."""
    if sweep.plan.confirms is None:
        return None
    search = sweep.paths.runs.sweep(sweep.plan.confirms)
    seed = confirmed_seed(sweep, open_sweep(search)) if search.plan.exists() else None
    if seed is None:
        return ConfirmationStatus(search.name, ())
    ended = [each.spec.values for each in snapshots if each.result is not None]
    names = list(_names(search))
    trials = tuple(
        ConfirmedTrial(
            next((name for name, found in names if found == searched), ""),
            tuple(int(values[seed]) for values in enqueued),
            sum(values in ended for values in enqueued),
        )
        for searched, enqueued in _by_configuration(sweep, seed)
    )
    return ConfirmationStatus(search.name, trials)


def _by_configuration(sweep: Sweep, seed: str) -> list[tuple[Values, list[Values]]]:
    """Return the trials that a confirmation enqueues, together those that differ in their seed."""
    groups: list[tuple[Values, list[Values]]] = []
    for values in sweep.experiment.enqueue:
        searched = {path: value for path, value in values.items() if path != seed}
        same = next((enqueued for known, enqueued in groups if known == searched), None)
        if same is None:
            groups.append((searched, [values]))
        else:
            same.append(values)
    return groups


def _names(search: SweepPaths) -> Iterator[tuple[str, Mapping[str, Scalar]]]:
    """Yield the name and the searched values of each trial of the search."""
    for trial in search.trials():
        yield trial.name, read_spec(trial).values


def confirmation_line(sweep: Sweep, command: str) -> list[str]:
    """Return a line on the confirmation of a sweep; nothing if there is none.

    Args:
        sweep: the search.
        command: the command that shows the confirmation.
    """
    paths = sweep.paths.confirmation
    if sweep.plan.confirms is not None or not paths.plan.exists():
        return []
    confirmation = open_sweep(paths)
    progress = confirmation.progress()
    if confirmation.is_over():
        state = "complete"
    elif any(map(_runs, paths.trials())):
        state = "running"
    else:
        state = "stopped" if confirmation.is_stopped() else "interrupted"
    done = f"{progress.ended} of {count(progress.planned, 'training')} done"
    what = f"confirmation {paths.name}: {state}, {done}; show it with"
    return [on_own_line(what, command)]


def _runs(trial: TrialPaths) -> bool:
    return read_result(trial) is None and not is_abandoned(trial.attempts()[-1])


def confirmation_time_left(
    snapshots: Sequence[TrialSnapshot], running: frozenset[str], progress: Progress, epochs: int
) -> TimeLeft | None:
    """Return how long a confirmation still takes; None if nothing is left or no epoch has ended.

    Nothing is pruned, so every training takes all its epochs, and the first epoch tells the pace.

    Args:
        snapshots: the records of its trials.
        running: the names of the trials that a worker has now.
        progress: how many trials are planned and have ended.
        epochs: the epochs of one training.
    """
    begun = [each for each in snapshots if each.rows]
    rows = [row for each in begun for row in each.rows]
    if not progress.left or not rows:
        return None
    pace = sum(row.seconds for row in rows) / len(rows)
    left = {
        each.paths.name: open_seconds(
            each, pace, epochs - len(each.rows), is_running=each.paths.name in running
        )
        for each in snapshots
        if each.result is None
    }
    work = sum(left.values()) + progress.to_propose * pace * epochs
    return TimeLeft.of(work, left, running, len(begun))
