"""Which hyperparameter mattered most, by fANOVA, with how much that stands on.

Importances take a second to compute, because Optuna has to be imported. The publisher computes them
once, when the sweep is over, and everybody else reads its file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeps.analysis.finding import Finding, Kind
from sweeps.analysis.trials import CompleteTrial, SweepTrials
from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths

FEWEST = 5
"""Complete trials below which importances are not computed."""
RELIABLE = 20
"""Complete trials below which importances have a warning, and no plot."""
MOST = 300
"""Complete trials that importances are computed from: the time grows faster than their number."""
SHOWN = 5
"""Hyperparameters that the sentence names."""


@dataclass(frozen=True)
class Importances:
    """The importances of a sweep's hyperparameters.

    Attributes:
        complete: how many complete trials the sweep had.
        used: how many of them were used.
        shares: for each path the share of the variance that it explains alone, the largest first.
    """

    complete: int
    used: int
    shares: Mapping[str, float]


def sample_of(complete: Sequence[CompleteTrial]) -> list[CompleteTrial]:
    """Return the trials that importances are computed from: all, or some of all times."""
    in_order = sorted(complete, key=lambda trial: trial.paths.number)
    if len(in_order) <= MOST:
        return in_order
    return [in_order[at * len(in_order) // MOST] for at in range(MOST)]


def write_importances(paths: SweepPaths, importances: Importances) -> None:
    """Store the importances in the sweep's folder; to write the same again changes nothing."""
    atomic.write(paths.importances, json.dumps(asdict(importances), indent=2))


def read_importances(paths: SweepPaths, complete: int) -> Importances | None:
    """Return the stored importances; None if there are none for so many complete trials."""
    content = atomic.read_json(paths.importances)
    if content is None or content["complete"] != complete:
        return None
    return Importances(**content)


def importance_findings(trials: SweepTrials, importances: Importances | None) -> Iterator[Finding]:
    """Yield which hyperparameter mattered most; nothing if that is not known."""
    if importances is None or not any(importances.shares.values()):
        return
    ranked = sorted(importances.shares.items(), key=lambda item: -item[1])
    names = [f"{trials.short(path)} {share:.2f}" for path, share in ranked]
    others = f", then {', '.join(names[1:SHOWN])}" if len(names) > 1 else ""
    lead = f"{trials.short(ranked[0][0])} mattered most (importance {ranked[0][1]:.2f} by fANOVA)"
    text = f"{lead}{others}. {_basis(importances)}"
    yield Finding(Kind.IMPORTANCE, text, {trials.short(path): share for path, share in ranked})


def _basis(importances: Importances) -> str:
    """Return what the importances stand on, with a warning if that is not enough."""
    used = importances.used
    if importances.complete > used:
        return f"This stands on {used} of {importances.complete} complete trials."
    warning = f": not reliable below {RELIABLE}" if used < RELIABLE else ""
    return f"This stands on {used} complete trials{warning}."
