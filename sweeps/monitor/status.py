"""How a sweep stands, read from its folders alone; light enough to be asked at any time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.experiment import Objective
from sweeps.config.space import Scalar, short_names
from sweeps.search.pruning import best_epoch
from sweeps.storage.paths import TrialPaths
from sweeps.storage.results import Totals, compute_totals
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import (
    SPEED_SUFFIX,
    EpochRow,
    State,
    TrialResult,
    TrialSnapshot,
    read_snapshot,
)
from sweeps.workers.claims import claim_owner
from sweeps.workers.retry import describe_failures


@dataclass(frozen=True)
class TrialStatus:
    """One line of the table.

    Attributes:
        name: number and signature.
        state: what became of it, or `running` or `waiting` (for a worker to take it up).
        epoch: the last finished epoch.
        epochs: how many it has if nothing ends it.
        best: the objective at its best epoch; None before the first.
        values: what is searched, by short name.
        pace: the trainer's own figure of speed; None where it gives none.
        seconds_left: until its last epoch; None where it ended or nothing is known.
        reason: why it diverged or failed; of one under way, what went wrong so far.
        is_best: whether no complete trial is better.
        traceback: the file with the last one; None where there is none.
    """

    name: str
    state: str
    epoch: int
    epochs: int
    best: float | None
    values: Mapping[str, Scalar]
    pace: float | None
    seconds_left: float | None
    reason: str
    is_best: bool
    traceback: Path | None = None


@dataclass(frozen=True)
class SweepStatus:
    """A sweep at one moment."""

    name: str
    objective: Objective
    planned: int
    trials: list[TrialStatus]
    totals: Totals
    is_over: bool
    stopped: str | None
    jobs: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        """Trials that ended and count."""
        states = self.totals.states.items()
        return sum(n for state, n in states if state.counts and state is not State.RUNNING)


def sweep_status(sweep: Sweep, stopped: str | None, jobs: Sequence[str] = ()) -> SweepStatus:
    """Look at every folder of the sweep once; `jobs` is what is known of its jobs, in words."""
    looks = [read_snapshot(paths) for paths in sweep.paths.trials()]
    objective = sweep.experiment.objective
    totals = compute_totals(looks, objective)
    short = short_names(sweep.experiment.space)
    return SweepStatus(
        name=sweep.paths.name,
        objective=objective,
        planned=sweep.experiment.trials,
        trials=[_trial_status(seen, objective, totals, short) for seen in looks],
        totals=totals,
        is_over=sweep.is_over(),
        stopped=stopped,
        jobs=tuple(jobs),
    )


def _trial_status(
    seen: TrialSnapshot, objective: Objective, totals: Totals, short: Mapping[str, str]
) -> TrialStatus:
    rows, metric = seen.rows, objective.metric
    curve = {row.epoch: row.metrics[metric] for row in rows if metric in row.metrics}
    return TrialStatus(
        name=seen.paths.name,
        state=_state(seen.paths, seen.result),
        epoch=rows[-1].epoch if rows else 0,
        epochs=seen.spec.epochs,
        best=_best(seen.result, curve, objective),
        values={short.get(path, path): value for path, value in seen.spec.values.items()},
        pace=_pace(rows),
        seconds_left=_seconds_left(rows, seen.spec.epochs) if seen.result is None else None,
        reason=seen.result.reason if seen.result else describe_failures(seen.paths),
        is_best=seen.paths == totals.best,
        traceback=_traceback(seen),
    )


def _traceback(seen: TrialSnapshot) -> Path | None:
    if seen.result is not None and seen.result.state is not State.FAILED:
        return None
    there = [a.traceback for a in seen.paths.attempts() if a.traceback.exists()]
    return there[-1] if there else None


def _best(
    result: TrialResult | None, curve: Mapping[int, float], objective: Objective
) -> float | None:
    if result is not None:
        return result.value if result.state is not State.DIVERGED else None
    return best_epoch(curve, objective)[1] if curve else None


def _state(paths: TrialPaths, result: TrialResult | None) -> str:
    if result is not None:
        return result.state.value
    last = paths.attempts()[-1]
    away = last.released.exists() or claim_owner(last).is_gone()
    return "waiting" if away else State.RUNNING.value


def _pace(rows: list[EpochRow]) -> float | None:
    figures = [v for k, v in rows[-1].metrics.items() if k.endswith(SPEED_SUFFIX)] if rows else []
    return figures[0] if figures else None


def _seconds_left(rows: list[EpochRow], epochs: int) -> float | None:
    if not rows:
        return None
    pace = sum(row.seconds for row in rows) / len(rows)
    since = max(0.0, time.time() - rows[-1].timestamp / 1000)
    return max(0.0, pace * (epochs - rows[-1].epoch) - since)
