"""Asynchronous successive halving, as a function of the curves alone.

Optuna's pruner writes down that a trial passed a rung before anybody has acted on the verdict;
asked again after a crash it answers no. This one keeps no state, so that it can be asked at any
time; the study keeps the verdicts that were acted on.

Source: Li et al. 2018, arXiv:1810.05934, algorithm 2, for trials that are each promoted where
they run.
"""

from collections.abc import Mapping, Sequence

from sweeps.config.experiment import Objective, Pruner

Curve = Mapping[int, float]
"""The objective by epoch."""


def is_rung(pruner: Pruner, epoch: int) -> bool:
    """Whether trials are compared after this epoch."""
    if pruner.kind == "none":
        return False
    rung = pruner.min_epochs
    while rung < epoch:
        rung *= pruner.reduction
    return rung == epoch


def best_epoch(curve: Curve, objective: Objective, until: int | None = None) -> tuple[int, float]:
    """The epoch with the best value, the first of equals, and that value.

    Args:
        curve: at least one epoch.
        objective: which way is better.
        until: the last epoch to look at; all where None.
    """
    epochs = [epoch for epoch in sorted(curve) if until is None or epoch <= until]
    winner = max(epochs, key=lambda epoch: objective.sign * curve[epoch])
    return winner, curve[winner]


def should_prune(
    curve: Curve, rivals: Sequence[Curve], epoch: int, pruner: Pruner, objective: Objective
) -> bool:
    """Whether a trial is to be given up after `epoch`, a rung.

    Args:
        curve: the trial's own.
        rivals: those of all other trials; the ones that never reached `epoch` do not count.
        epoch: where the trials are compared, each by its best epoch so far.
        pruner: the rule.
        objective: which way is better.
    """
    arrived = [rival for rival in rivals if epoch in rival]
    if len(arrived) < pruner.rivals:
        return False
    sign = objective.sign
    own = sign * best_epoch(curve, objective, epoch)[1]
    better = sum(sign * best_epoch(rival, objective, epoch)[1] > own for rival in arrived)
    places = max(1, (len(arrived) + 1) // pruner.reduction)
    return better >= places
