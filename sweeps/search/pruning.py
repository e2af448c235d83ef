"""Asynchronous successive halving, as a function of the curves alone.

Optuna's pruner records that a trial has passed a rung before the pruning decision has been carried
out; called again after a crash, it answers no. This one keeps no state and can be called at any
time; the study records the decisions.

Source: Li et al. 2018, arXiv:1810.05934, algorithm 2, for trials that continue in the same worker
when they pass a rung.
"""

from collections.abc import Mapping, Sequence

from sweeps.config.experiment import Objective, Pruner

Curve = Mapping[int, float]
"""The objective by epoch."""


def is_rung(pruner: Pruner, epoch: int) -> bool:
    """Return whether trials are compared after this epoch."""
    if pruner.kind == "none":
        return False
    rung = pruner.min_epochs
    while rung < epoch:
        rung *= pruner.reduction
    return rung == epoch


def best_epoch(curve: Curve, objective: Objective, until: int | None = None) -> tuple[int, float]:
    """Return the epoch with the best value (the first of equal ones), and that value.

    Args:
        curve: a curve of at least one epoch.
        objective: whether it is maximized or minimized.
        until: the last epoch to consider; None for all.
    """
    epochs = [epoch for epoch in sorted(curve) if until is None or epoch <= until]
    best = max(epochs, key=lambda epoch: objective.sign * curve[epoch])
    return best, curve[best]


def should_prune(
    curve: Curve, rivals: Sequence[Curve], epoch: int, pruner: Pruner, objective: Objective
) -> bool:
    """Return whether a trial is pruned after `epoch`, a rung.

    Args:
        curve: the trial's curve.
        rivals: the curves of all other trials; those without `epoch` do not count.
        epoch: the epoch after which trials are compared, each by its best epoch so far.
        pruner: the settings of the rule.
        objective: whether it is maximized or minimized.
    """
    compared = [rival for rival in rivals if epoch in rival]
    if len(compared) < pruner.min_rivals:
        return False
    sign = objective.sign
    own = sign * best_epoch(curve, objective, epoch)[1]
    better = sum(sign * best_epoch(rival, objective, epoch)[1] > own for rival in compared)
    continuing = max(1, (len(compared) + 1) // pruner.reduction)
    return better >= continuing
