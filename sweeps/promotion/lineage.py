"""Where a candidate comes from: the tags and the card that stay with it in the registry."""

from sweeps.filesystem import atomic
from sweeps.promotion.candidate import Candidate
from sweeps.promotion.entities import MANIFEST, RegistryEntry
from sweeps.promotion.gate import Decision
from sweeps.promotion.model_card import card
from sweeps.promotion.scores import metric_on_test_split
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_spec

DIRTY = "-dirty"


def write_card(sweep: Sweep, name: str, candidate: Candidate, decision: Decision) -> None:
    """Write the candidate's card from its figures."""
    text = card(
        name,
        atomic.read_json(candidate.paths.package / MANIFEST),
        candidate.ranked,
        candidate.scored,
        decision,
        lineage(sweep, candidate),
        read_spec(candidate.chosen.searched).values,
    )
    atomic.write(candidate.paths.card, text)


def registry_entry(sweep: Sweep, candidate: Candidate, decision: Decision) -> RegistryEntry:
    """The candidate as the registry takes it."""
    metric = metric_on_test_split(sweep.resolved.experiment.objective.metric)
    scored = candidate.scored
    patients = {f"{metric}/{name}": figures[metric] for name, figures in scored.patients.items()}
    why = f"forced: {decision.forced}" if decision.forced else "passed the gate"
    tags = {
        "sweep.decision": why,
        "sweep.test": f"{scored.scores[metric]:.6f}",
        "sweep.metric": metric,
        "sweep.by": decision.by,
    }
    return RegistryEntry(
        key=candidate.key,
        name=f"promotion of {candidate.chosen.best_confirmation.name}, {candidate.key[:8]}",
        package=candidate.paths.package,
        card=candidate.paths.card,
        attachments=(candidate.paths.decision, candidate.paths.scores),
        evaluation=candidate.paths.evaluation,
        figures={**scored.scores, **patients},
        dataset=scored.data,
        tags=tags | lineage(sweep, candidate),
        time=scored.time,
    )


def lineage(sweep: Sweep, candidate: Candidate) -> dict[str, str]:
    """The facts that lead back from a version to where it comes from, by the names of its tags."""
    contender = candidate.chosen
    commit = read_spec(contender.best_confirmation).commit
    return {
        "sweep.name": sweep.paths.name,
        "sweep.trial": contender.searched.name,
        "sweep.confirmed_by": contender.best_confirmation.name,
        "sweep.seeds": " ".join(map(str, contender.seeds)),
        "sweep.run": _run_of(contender.searched),
        "sweep.confirmation_run": _run_of(contender.best_confirmation),
        "sweep.commit": commit.removesuffix(DIRTY) or "unknown",
        "sweep.commit_clean": "unknown" if not commit else str(DIRTY not in commit).lower(),
        "sweep.data": sweep.plan.fingerprint,
        "sweep.test_data": str(candidate.scored.data["digest"]),
        "sweep.mean": f"{contender.mean:.6f}",
        "sweep.spread": f"{contender.spread:.6f}",
        "sweep.selection_bias": f"{contender.selection_bias:.6f}",
    }


def _run_of(trial: TrialPaths) -> str:
    """The run that shows a trial in MLflow, where it was published."""
    content = atomic.read_json(trial.mlflow)
    return "not published" if content is None else str(content["run"])
