"""Deciding: the candidate's figures and the champion's, held against the gate, on record."""

import json
import os
from dataclasses import asdict, dataclass

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.promotion import gate
from sweeps.promotion.candidate import Candidate, model_label
from sweeps.promotion.entities import Version, champion_paths, package_digest
from sweeps.promotion.gate import Check, Decision, Figures
from sweeps.promotion.registry import Registry
from sweeps.promotion.scores import PackageScores, metric_on_test_split, score_package
from sweeps.storage.sweep import Sweep


def decide(
    sweep: Sweep,
    registry: Registry,
    candidate: Candidate,
    champion: Version | None,
    force: str,
) -> Decision:
    """Hold the candidate against its floors and the champion, and record what was decided.

    Args:
        sweep: the search.
        registry: where the champion is.
        candidate: the model that is put up.
        champion: the one in use; None where there is none.
        force: a reason to promote whatever is found; empty for none.
    """
    mine = _figures("the candidate", candidate.scored, sweep, candidate.chosen.spread)
    floors = {**sweep.resolved.trainer.floors, **sweep.experiment.promotion.floors}
    checks = gate.check_floors(mine, floors)
    if champion is not None:
        checks.append(_ChampionComparison(sweep, registry, candidate, champion).check(mine))
    data = gate.describe_evidence(
        len(mine.patients), len(candidate.chosen.seeds), _profile(candidate.scored)
    )
    needed = not all(check.passed for check in checks)
    decision = Decision(
        checks, data, forced=force if needed else "", by=os.environ.get("USER", "sweeps")
    )
    content = asdict(decision) | {"promote": decision.promote}
    atomic.write(candidate.paths.decision, json.dumps(content, indent=2))
    return decision


@dataclass(frozen=True)
class _ChampionComparison:
    """A candidate against a champion, on the candidate's test data."""

    sweep: Sweep
    registry: Registry
    candidate: Candidate
    champion: Version

    def check(self, mine: Figures) -> Check:
        """Whether the candidate wins; a champion that cannot be scored cannot be beaten."""
        try:
            scored = self._champion_scored()
        except InputError as error:
            return Check(
                False, f"the champion cannot be scored: {error}; sweeps rollback, or force"
            )
        objective, tags = self.sweep.resolved.experiment.objective, self.champion.tags
        metric = metric_on_test_split(objective.metric)
        alike = tags.get("sweep.metric") == metric
        spread = float(tags.get("sweep.spread", 0)) if alike else 0.0
        theirs = _figures(self._name, scored, self.sweep, spread)
        return gate.check_beats(mine, theirs, metric, objective.sign)

    @property
    def _name(self) -> str:
        return f"{self.registry.name} version {self.champion.number}"

    def _champion_scored(self) -> PackageScores:
        package = self.registry.fetch(self.champion)
        at = champion_paths(self.sweep.paths, self.champion)
        content = atomic.read_json(at.scores)
        mine = self.candidate.scored.data["digest"]
        if content is not None and content.get("package") == package_digest(package):
            known = PackageScores(**content)
            if known.data["digest"] == mine:
                return known
        tags = self.champion.tags
        known_as = model_label(tags["sweep.name"], tags["sweep.confirmed_by"])
        scored = score_package(
            self.sweep, self.candidate.config, package, known_as, "champion", at.evaluation
        )
        if scored.data["digest"] != mine:
            self.candidate.paths.scores.unlink(missing_ok=True)
            raise EnvironmentFailure(
                "the test data changed since the candidate was scored; run this again"
            )
        atomic.write(at.scores, json.dumps(asdict(scored), indent=2))
        return scored


def _figures(name: str, scored: PackageScores, sweep: Sweep, spread: float) -> Figures:
    metric = metric_on_test_split(sweep.resolved.experiment.objective.metric)
    missing = [patient for patient, figures in scored.patients.items() if metric not in figures]
    if missing or metric not in scored.scores:
        raise InputError(f"{name} has no {metric} for {', '.join(missing) or 'the test split'}")
    patients = {patient: figures[metric] for patient, figures in scored.patients.items()}
    return Figures(name, scored.scores, patients, spread)


def _profile(scored: PackageScores) -> str:
    slices = scored.data["profile"].get("slices")
    return "" if slices is None else f" ({slices} slices)"
