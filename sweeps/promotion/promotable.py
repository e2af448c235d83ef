"""Whether the models of a sweep can be promoted at all; known before anything is trained.

It imports little: every command that shows a sweep says it.
"""

from sweeps.base_trainer import missing_for_promotion
from sweeps.errors import InputError
from sweeps.storage.sweep import Sweep


def check_promotable(sweep: Sweep) -> None:
    """Refuse a sweep that cannot be promoted from, before anything is trained again.

    Raises:
        InputError: it cannot be promoted from; see `why_not_promotable`.
    """
    if (reason := why_not_promotable(sweep)) is not None:
        raise InputError(reason)


def why_not_promotable(sweep: Sweep) -> str | None:
    """Return why no model of a sweep can be promoted, however good it is; None if one can.

    The sweep is a confirmation, or its trainer cannot export models, or it searches over the seed,
    or its objective is not measured on the test split.
    """
    trainer, metric = sweep.resolved.trainer, sweep.resolved.experiment.objective.metric
    if sweep.plan.confirms is not None:
        return (
            f"sweep {sweep.paths.name} is the confirmation of {sweep.plan.confirms}; "
            f"promote {sweep.plan.confirms} instead"
        )
    if missing := missing_for_promotion(trainer):
        name, members = sweep.experiment.trainer, ", ".join(missing)
        return (
            f"trainer {name!r} cannot export models: it has no {members} of its own; write what is "
            "missing (sweeps/trainer.py says how), or use a trial's best.pt (sweeps show)"
        )
    if trainer.seed in sweep.experiment.space:
        return (
            f"sweep {sweep.paths.name} searches over {trainer.seed}, so no seed is new to it; "
            f"remove {trainer.seed} from [space] and search under another name"
        )
    if metric in trainer.test_metrics:
        return None
    name, valid = sweep.experiment.trainer, ", ".join(trainer.test_metrics)
    if not valid:
        return f"trainer {name!r} measures nothing on the test split"
    advice = f"optimize {valid} in a sweep with another name"
    return f"{metric} is not measured on the test split; {advice}"
