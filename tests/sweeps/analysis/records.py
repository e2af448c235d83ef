"""Hand-made records of trials, with known answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.analysis.trials import SweepTrials
from sweeps.config.experiment import Objective
from sweeps.config.space import Scalar, parse_space
from sweeps.storage.paths import TrialPaths
from sweeps.storage.trial_record import State, TrialResult, TrialSnapshot, TrialSpec
from sweeps.trainer import FinishedEpoch

SPACE = {
    "t.optimizer": ["adam", "sgd"],
    "t.batch_size": [8, 16, 32],
    "t.rate": {
        "depends_on": "t.optimizer",
        "cases": {
            "adam": {"low": 1e-4, "high": 1e-2, "log": True},
            "sgd": {"low": 1e-2, "high": 1.0, "log": True},
        },
    },
}
MIDDLE = {"adam": 1e-3, "sgd": 0.1}


def point(optimizer: str = "adam", batch_size: int = 16, rate: float | None = None) -> Any:
    rate = MIDDLE[optimizer] if rate is None else rate
    return {"t.optimizer": optimizer, "t.batch_size": batch_size, "t.rate": rate}


def row(epoch: int, value: float, seconds: float = 10.0, end: float | None = None) -> FinishedEpoch:
    timestamp = int(1000 * (epoch * seconds if end is None else end))
    return FinishedEpoch(epoch, {"score": value}, timestamp, seconds)


def trial(
    number: int,
    state: State,
    curve: Sequence[float] = (),
    values: Mapping[str, Scalar] | None = None,
    *,
    best: Any = max,
    epochs: int = 4,
) -> TrialSnapshot:
    """A trial whose value is the best of its curve; `best` is `min` to minimize."""
    paths = TrialPaths(Path(f"/nowhere/{number:04d}-aaaaaaaa"))
    has_value = state in {State.COMPLETE, State.PRUNED}
    result = TrialResult(state, best(curve) if has_value else None, None, len(curve))
    spec = TrialSpec(number, values or point(), {}, epochs, 1)
    rows = [row(epoch, value) for epoch, value in enumerate(curve, 1)]
    return TrialSnapshot(paths, spec, None if state is State.RUNNING else result, rows)


def complete(number: int, *curve: float, **settings: Any) -> TrialSnapshot:
    return trial(number, State.COMPLETE, curve, **settings)


def pruned(number: int, *curve: float, **settings: Any) -> TrialSnapshot:
    return trial(number, State.PRUNED, curve, **settings)


def sweep_of(
    *snapshots: TrialSnapshot, space: Mapping[str, Any] | None = None, maximize: bool = True
) -> SweepTrials:
    direction = "maximize" if maximize else "minimize"
    objective = Objective(metric="score", direction=direction)
    return SweepTrials(snapshots, parse_space(space or SPACE, "test"), objective)
