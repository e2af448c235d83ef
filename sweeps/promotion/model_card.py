"""The model card and the tags of a version: its scores, its decision and its lineage."""

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
"""What `git describe --dirty` appends to a commit if the checkout differs from it."""
MAX_COLUMNS = 8
"""Up to this many patients, each one has a column of its own."""


def card(
    name: str,
    manifest: Mapping[str, Any],
    ranked: Sequence[CandidateTrial],
    scored: PackageScores,
    decision: Decision,
    lineage: Mapping[str, str],
    values: Mapping[str, Scalar],
) -> str:
    """Return the model card in Markdown.

    Args:
        name: the name of the registered model.
        manifest: the manifest of its package.
        ranked: the configurations it was chosen from, the best first.
        scored: its scores on the test split.
        decision: whether it may replace the champion, and why.
        lineage: where it comes from, by tag.
        values: the searched hyperparameters.
    """
    metric = metric_on_test_split(ranked[0].objective.metric)
    sections = [
        f"# {name}",
        str(manifest.get("about", "")),
        f"## Use\n\n{manifest.get('use', '')}",
        f"## On the test split\n\n{_scores(scored)}\n\n{_patients(scored, metric)}",
        f"## How it was chosen\n\n{_ranking(ranked)}",
        "## Decision\n\n" + "\n".join(f"-{line[1:]}" for line in decision.lines()),
        f"## Hyperparameters\n\n{_table(('name', 'value'), values.items())}",
        f"## Where it comes from\n\n{_table(('what', ''), lineage.items())}",
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _scores(scored: PackageScores) -> str:
    """Return a table of all metrics, with a column for each patient if they are few."""
    shown = sorted(scored.patients) if len(scored.patients) <= MAX_COLUMNS else []
    rows = [
        (
            *(name, f"{value:.4f}", _interval(scored.intervals.get(name))),
            *(_decimal(scored.patients[patient].get(name)) for patient in shown),
        )
        for name, value in sorted(scored.scores.items())
    ]
    profile = ", ".join(f"{key} {_short(value)}" for key, value in scored.data["profile"].items())
    name = _plain(str(scored.data["name"]))
    head = f"Data: {name} ({_plain(profile)}), content {scored.data['digest'][:12]}."
    return f"{head}\n\n" + _table(("metric", "mean", "95 % over patients", *shown), rows)


def _patients(scored: PackageScores, metric: str) -> str:
    """Return a table of the compared metric by patient, if they are too many for columns."""
    if len(scored.patients) <= MAX_COLUMNS:
        return ""
    rows = [(name, _decimal(of.get(metric))) for name, of in sorted(scored.patients.items())]
    return _table(("patient", metric), rows)


def _ranking(ranked: Sequence[CandidateTrial]) -> str:
    metric = ranked[0].objective.metric
    rows = [
        (
            trial.searched.name,
            f"{trial.value:.4f}",
            f"{trial.mean:.4f} ± {trial.spread:.4f}",
            trial.describe_selection_bias(),
            ", ".join(map(str, trial.seeds)),
        )
        for trial in ranked
    ]
    heads = ("trial", f"{metric} in the search", "from new seeds", "selection bias", "seeds")
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is: a name of a folder may contain links or HTML."""
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\[\]|`])", r"\\\1", escaped)


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _short(value: object) -> str:
    return " ".join(str(value).split())


def write_card(sweep: Sweep, name: str, candidate: Candidate, decision: Decision) -> None:
    """Write the candidate's model card into its folder."""
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
    """Return the registry entry of the candidate."""
    metric = metric_on_test_split(sweep.resolved.experiment.objective.metric)
    scored = candidate.scored
    patients = {f"{metric}/{name}": metrics[metric] for name, metrics in scored.patients.items()}
    tags = {
        "sweep.decision": decision.summary(),
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
        metrics={**scored.scores, **patients},
        dataset=scored.data,
        tags=tags | lineage(sweep, candidate),
        time=scored.time,
    )


def lineage(sweep: Sweep, candidate: Candidate) -> dict[str, str]:
    """Return where a version comes from, by tag: sweep, trials, seeds, runs, commit and data."""
    chosen = candidate.chosen
    commit = read_spec(chosen.best_confirmation).commit
    return {
        "sweep.name": sweep.paths.name,
        "sweep.trial": chosen.searched.name,
        "sweep.confirmed_by": chosen.best_confirmation.name,
        "sweep.seed": str(chosen.best_seed),
        "sweep.seeds": " ".join(map(str, chosen.seeds)),
        "sweep.run": _run_of(chosen.searched),
        "sweep.confirmation_run": _run_of(chosen.best_confirmation),
        "sweep.commit": commit.removesuffix(DIRTY) or "unknown",
        "sweep.commit_clean": "unknown" if not commit else str(DIRTY not in commit).lower(),
        "sweep.data": sweep.plan.fingerprint,
        "sweep.test_data": str(candidate.scored.data["digest"]),
        "sweep.mean": f"{chosen.mean:.6f}",
        "sweep.spread": f"{chosen.spread:.6f}",
        "sweep.selection_bias": f"{chosen.selection_bias:.6f}",
        "sweep.selection_bias_in_words": chosen.describe_selection_bias(),
    }


def _run_of(trial: TrialPaths) -> str:
    """Return the id of the MLflow run of a trial, or `not published`."""
    content = atomic.read_json(trial.mlflow)
    return "not published" if content is None else str(content["run"])
