"""The folders of a promotion: the models that were scored.

runs/<sweep>/promotion/
  candidates/<trial>/        a proposed model: one trial of the confirmation
    package/                 its programs
    evaluation/  scores.json its scores on the test split
    decision.json  card.md   whether it may replace the champion; its card
  champions/<version>/       a registered model that candidates were compared with
    evaluation/  scores.json
"""

from dataclasses import dataclass
from pathlib import Path

from sweeps.storage.paths import PathIn, SweepPaths


@dataclass(frozen=True)
class ScoredPaths:
    """The paths of one model's package, scores and decision."""

    folder: Path

    package = PathIn("package")  # the model's programs
    evaluation = PathIn("evaluation")  # figures and tables of its evaluation
    scores = PathIn("scores.json")  # its metrics on the test split
    decision = PathIn("decision.json")  # whether it may replace the champion, and why
    card = PathIn("card.md")  # the model card


def candidate_paths(sweep: SweepPaths, trial: str) -> ScoredPaths:
    """Return the paths of a candidate, by the name of its trial in the confirmation."""
    return ScoredPaths(sweep.promotion / "candidates" / trial)


def compared_champions(sweep: SweepPaths) -> list[ScoredPaths]:
    """Return the registered models that candidates were compared with, and those promoted."""
    found = sweep.promotion.glob("champions/*/scores.json")
    return [ScoredPaths(file.parent) for file in sorted(found)]


def scored_candidates(sweep: SweepPaths) -> list[ScoredPaths]:
    """Return the candidates that have scores on the test split, the latest last."""
    found = [ScoredPaths(file.parent) for file in sweep.promotion.glob("candidates/*/scores.json")]
    return sorted(found, key=lambda paths: paths.scores.stat().st_mtime)
