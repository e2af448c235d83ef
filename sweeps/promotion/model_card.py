"""The model card: what a model is, what it is worth and how that was found, from the figures."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.config.space import Scalar
from sweeps.promotion.candidate import CandidateTrial
from sweeps.promotion.gate import Decision
from sweeps.promotion.scores import PackageScores, metric_on_test_split
from sweeps.text import one_line

MOST_COLUMNS = 8
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
    shown = sorted(scored.patients) if len(scored.patients) <= MOST_COLUMNS else []
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
    if len(scored.patients) <= MOST_COLUMNS:
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
