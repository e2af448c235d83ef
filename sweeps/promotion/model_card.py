"""The model card and the tags of a version: what a model is worth, and where it comes from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.config.space import Scalar
from sweeps.filesystem import atomic
from sweeps.promotion.candidate import Candidate, CandidateTrial
from sweeps.promotion.entities import MANIFEST, RegistryEntry
from sweeps.promotion.gate import Decision
from sweeps.promotion.scores import PackageScores, metric_on_test_split
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_spec
from sweeps.text import one_line

DIRTY = "-dirty"
"""What git appends to a commit where the checkout differs from it."""
MAX_COLUMNS = 8
"""With so many patients their figures still stand side by side."""


def card(
    name: str,
    manifest: Mapping[str, Any],
    found: Sequence[CandidateTrial],
    scored: PackageScores,
    decision: Decision,
    lineage: Mapping[str, str],
    values: Mapping[str, Scalar],
) -> str:
    """The card in Markdown.

    Args:
        name: what the model is registered as.
        manifest: what its package says of it.
        found: the configurations it was chosen among, the best first.
        scored: its figures on the test split.
        decision: why it may be used.
        lineage: where it comes from.
        values: its hyperparameters, as far as they were searched for.
    """
    metric = metric_on_test_split(found[0].objective.metric)
    sections = [
        f"# {name}",
        str(manifest.get("about", "")),
        f"## Use\n\n{manifest.get('use', '')}",
        f"## On the test split\n\n{_scores(scored)}\n\n{_patients(scored, metric)}",
        f"## How it was chosen\n\n{_chosen(found)}",
        "## Decision\n\n" + "\n".join(f"-{line[1:]}" for line in decision.lines()),
        f"## Hyperparameters\n\n{_table(('name', 'value'), values.items())}",
        f"## Where it comes from\n\n{_table(('what', ''), lineage.items())}",
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _scores(scored: PackageScores) -> str:
    """Every figure, beside it each patient's as far as there is room."""
    shown = sorted(scored.patients) if len(scored.patients) <= MAX_COLUMNS else []
    rows = [
        (
            *(name, f"{value:.4f}", _interval(scored.intervals.get(name))),
            *(_figure(scored.patients[patient].get(name)) for patient in shown),
        )
        for name, value in sorted(scored.scores.items())
    ]
    profile = ", ".join(f"{key} {_short(value)}" for key, value in scored.data["profile"].items())
    name = _plain(str(scored.data["name"]))
    head = f"Data: {name} ({_plain(profile)}), content {scored.data['digest'][:12]}."
    return f"{head}\n\n" + _table(("figure", "mean", "95 % over patients", *shown), rows)


def _patients(scored: PackageScores, metric: str) -> str:
    """The figure that is compared, for patients that are too many for columns."""
    if len(scored.patients) <= MAX_COLUMNS:
        return ""
    rows = [(patient, _figure(f.get(metric))) for patient, f in sorted(scored.patients.items())]
    return _table(("patient", metric), rows)


def _chosen(found: Sequence[CandidateTrial]) -> str:
    metric = found[0].objective.metric
    rows = [
        (
            contender.searched.name,
            f"{contender.value:.4f}",
            f"{contender.mean:.4f} ± {contender.spread:.4f}",
            f"{contender.selection_bias:+.4f}",
            ", ".join(map(str, contender.seeds)),
        )
        for contender in found
    ]
    heads = ("trial", f"{metric} in the search", "from new seeds", "selection bias", "seeds")
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that may come from a folder's name, as Markdown shows it: no link, no HTML, no cell."""
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\[\]|`])", r"\\\1", escaped)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _short(value: object) -> str:
    return " ".join(str(value).split())


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
