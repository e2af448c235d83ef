"""Where what was found of candidates and champions lies.

runs/<sweep>/promotion/
  candidates/<trial>/        a model that was put up: one trial of the confirmation
    package/                 its programs
    evaluation/  scores.json what it is worth on the test split
    decision.json  card.md   whether it may replace the champion; its card
  champions/<version>/       a registered model that candidates were held against
    evaluation/  scores.json
"""

from dataclasses import dataclass
from pathlib import Path

from sweeps.promotion.entities import Version
from sweeps.storage.paths import SweepPaths


@dataclass(frozen=True)
class ScoredPaths:
    """The folder of one model and what it was found to be worth."""

    folder: Path

    @property
    def package(self) -> Path:
        """The model's programs."""
        return self.folder / "package"

    @property
    def evaluation(self) -> Path:
        """Pictures and tables of its evaluation."""
        return self.folder / "evaluation"

    @property
    def scores(self) -> Path:
        """Its figures on the test split."""
        return self.folder / "scores.json"

    @property
    def decision(self) -> Path:
        """Whether it may replace the champion, and why."""
        return self.folder / "decision.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "card.md"


def candidate_paths(sweep: SweepPaths, trial: str) -> ScoredPaths:
    """The folder of a candidate, by the name of its trial in the confirmation."""
    return ScoredPaths(sweep.promotion / "candidates" / trial)


def champion_paths(sweep: SweepPaths, version: Version) -> ScoredPaths:
    """The folder of a registered version that this sweep's candidates were held against."""
    digest = version.tags.get("sweep.package", "")[:8]
    return ScoredPaths(sweep.promotion / "champions" / f"{version.number}-{digest}")
