"""All findings of a sweep; those that matter most for a terminal, all of them as Markdown."""

import re
from collections.abc import Sequence

from sweeps.analysis.best import best_findings
from sweeps.analysis.choices import choice_findings
from sweeps.analysis.edges import edge_findings
from sweeps.analysis.finding import Finding, Kind
from sweeps.analysis.importance import importance_findings, read_importances
from sweeps.analysis.pruned import pruned_findings
from sweeps.analysis.time_spent import time_findings
from sweeps.analysis.trials import trials_of
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import TrialSnapshot

FOR_TERMINALS = (
    *(Kind.MARGIN, Kind.EDGE, Kind.IMPORTANCE, Kind.CHOICES, Kind.PRUNED_AHEAD),
    *(Kind.TIME, Kind.REPEATED),
)
"""The kinds that a terminal shows, the most important first; it names the best trial elsewhere."""


def find_all(sweep: Sweep, snapshots: Sequence[TrialSnapshot]) -> list[Finding]:
    """Return every finding of a sweep, the most important first.

    The trials of a confirmation differ in their seed, so only their times say something.

    Args:
        sweep: the sweep; it should be over.
        snapshots: the records of its trials.
    """
    trials = trials_of(sweep, snapshots)
    if sweep.plan.confirms is not None:
        return list(time_findings(trials))
    importances = read_importances(sweep.paths, len(trials.complete))
    found = [
        *best_findings(trials),
        *edge_findings(trials),
        *importance_findings(trials, importances),
        *choice_findings(trials),
        *pruned_findings(trials),
        *time_findings(trials),
    ]
    return sorted(found, key=lambda finding: list(Kind).index(finding.kind))


def most_important(findings: Sequence[Finding], most: int = 6) -> list[Finding]:
    """Return the findings for a terminal.

    Args:
        findings: the findings of a sweep.
        most: how many to return.
    """
    shown = [finding for kind in FOR_TERMINALS for finding in findings if finding.kind is kind]
    return shown[:most]


def as_markdown(findings: Sequence[Finding]) -> str:
    """Return the findings as a list in Markdown; empty if there are none."""
    return "\n".join(f"- {_escaped(finding.text)}" for finding in findings)


def _escaped(text: str) -> str:
    r"""Return the text without characters that mean something in Markdown: `batch\_size`."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(text.split()))
