"""The decision: compare the candidate with its floors and the champion, and record the result."""

import json
import math
import os
from dataclasses import asdict, dataclass

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.promotion import gate
from sweeps.promotion.candidate import Candidate, model_label
from sweeps.promotion.entities import Version, champion_paths, package_digest
from sweeps.promotion.gate import Check, Decision, ModelScores
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
    """Compare the candidate with its floors and the champion, and record the decision.

    Args:
        sweep: the search.
        registry: where the champion is registered.
        candidate: the model that is proposed as champion.
        champion: the version in use; None if there is none.
        force: a reason to promote even if the gate refuses; empty for none.
    """
    scores = _model_scores("the candidate", candidate.scored, sweep, candidate.chosen.spread)
    floors = {**sweep.resolved.trainer.floors, **sweep.experiment.promotion.floors}
    checks = gate.check_floors(scores, floors)
    if champion is not None:
        checks.append(_ChampionComparison(sweep, registry, candidate, champion).check(scores))
    evidence = gate.describe_evidence(
        len(scores.patients), len(candidate.chosen.seeds), _profile(candidate.scored)
    )
    passed = all(check.passed for check in checks)
    decision = Decision(
        checks, evidence, forced="" if passed else force, by=os.environ.get("USER", "sweeps")
    )
    content = asdict(decision) | {"promote": decision.promote}
    atomic.write(candidate.paths.decision, json.dumps(content, indent=2))
    return decision


@dataclass(frozen=True)
class _ChampionComparison:
    """The comparison of a candidate with the champion, on the candidate's test data."""

    sweep: Sweep
    registry: Registry
    candidate: Candidate
    champion: Version

    def check(self, candidate: ModelScores) -> Check:
        """Return whether the candidate is better.

        The check fails if the champion cannot be scored: nothing shows then that it is worse.
        """
        objective, tags = self.sweep.resolved.experiment.objective, self.champion.tags
        metric = metric_on_test_split(objective.metric)
        same_metric = tags.get("sweep.metric") == metric
        spread = float(tags.get("sweep.spread", 0)) if same_metric else 0.0
        try:
            scored = self._champion_scored()
            champion = _model_scores(self._name, scored, self.sweep, spread)
        except InputError as error:
            return Check(
                False,
                f"the champion cannot be scored: {error}; use sweeps rollback, or --force",
            )
        return gate.check_beats(candidate, champion, metric, objective.sign)

    @property
    def _name(self) -> str:
        return f"{self.registry.name} version {self.champion.number}"

    def _champion_scored(self) -> PackageScores:
        package = self.registry.fetch(self.champion)
        paths = champion_paths(self.sweep.paths, self.champion)
        content = atomic.read_json(paths.scores)
        digest = self.candidate.scored.data["digest"]
        if content is not None and content.get("package") == package_digest(package):
            stored = PackageScores(**content)
            if stored.data["digest"] == digest:
                return stored
        tags = self.champion.tags
        label = model_label(tags["sweep.name"], tags["sweep.confirmed_by"])
        scored = score_package(
            self.sweep, self.candidate.config, package, label, "champion", paths.evaluation
        )
        if scored.data["digest"] != digest:
            self.candidate.paths.scores.unlink(missing_ok=True)
            raise EnvironmentFailure(
                "the test data changed since the candidate was scored; run the same command again"
            )
        atomic.write(paths.scores, json.dumps(asdict(scored), indent=2))
        return scored


def _model_scores(name: str, scored: PackageScores, sweep: Sweep, spread: float) -> ModelScores:
    """Return the scores that the gate compares.

    Raises:
        InputError: one is missing or not a finite number. A comparison with it means nothing.
    """
    metric = metric_on_test_split(sweep.resolved.experiment.objective.metric)
    values = {"the test split": scored.scores, **scored.patients}
    bad = [owner for owner, of in values.items() if not math.isfinite(of.get(metric, math.nan))]
    if bad:
        raise InputError(f"{name} has no finite {metric} of {', '.join(bad)}")
    patients = {patient: metrics[metric] for patient, metrics in scored.patients.items()}
    return ModelScores(name, scored.scores, patients, spread)


def _profile(scored: PackageScores) -> str:
    slices = scored.data["profile"].get("slices")
    return "" if slices is None else f" ({slices} slices)"
