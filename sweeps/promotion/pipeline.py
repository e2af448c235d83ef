"""Promotion, step by step. Killed anywhere, it is run again and goes on; the alias moves last.

What each step finds is kept in the candidate's folder or in the registry, and is looked for there
before it is done. Nothing that people use changes until the new version has been fetched back
from the registry and scored.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.promotion.candidate import Candidate, CandidateTrial, model_label, rank_candidates
from sweeps.promotion.confirm import best_checkpoint_folder
from sweeps.promotion.decide import decide
from sweeps.promotion.entities import LOCK_STALE_SECONDS, Version, candidate_paths, champion_paths
from sweeps.promotion.gate import Decision
from sweeps.promotion.model_card import registry_entry, write_card
from sweeps.promotion.registry import CHAMPION, KEY_TAG, Registry
from sweeps.promotion.scores import (
    describe_reads,
    reads_of_test_split,
    score_or_read,
    score_package,
)
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_spec
from sweeps.tracking.sync import publish_once, store_of_sweep

RENEW_SECONDS = 20.0
PATIENCE_SECONDS = 3600.0
"""How long a second promotion of the same model waits for the first."""


def ignore_step(name: str) -> None:
    """Called before each step that leaves something behind; tests kill the process there."""


@dataclass(frozen=True)
class PromotionRequest:
    """What somebody asks for.

    Attributes:
        trials: of the search, one of which is to be promoted; they have been confirmed.
        dry_run: decide, and change nothing.
        force: a reason to promote whatever the gate says; empty for none.
        say: where lines for a person go.
    """

    trials: list[TrialPaths]
    dry_run: bool
    force: str
    print_line: Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a promotion ended.

    Attributes:
        passed: whether the candidate may be the champion, or is.
        version: its number in the registry; None where nothing was registered.
    """

    passed: bool
    version: int | None


def promote(
    sweep: Sweep, request: PromotionRequest, step: Callable[[str], None] = ignore_step
) -> Outcome:
    """Put the best of the confirmed trials up against the champion, and act on what is found.

    Args:
        sweep: the search.
        request: what is asked for.
        step: told the name of each step before it is taken.

    Raises:
        InputError: the candidate's package is not sound, or its data cannot be read.
        WorldError: the registry does not do what it is asked, or others were quicker.
    """
    registry = Registry(store_of_sweep(sweep), sweep.experiment.model_name)
    runs = sweep.paths.runs
    folder = runs.registry_lock(registry.name)
    lock = Lock(folder, stale_after=LOCK_STALE_SECONDS, patience=PATIENCE_SECONDS)
    with lock.hold() as turn, turn.keep_renewed(RENEW_SECONDS):
        candidate = _candidate(sweep, request, step)
        champion = registry.version(CHAMPION)
        if champion is not None and champion.tags.get(KEY_TAG) == candidate.key:
            request.print_line(
                f"it is the champion already: {registry.name} version {champion.number}"
            )
            return Outcome(True, champion.number)
        decision = decide(sweep, registry, candidate, champion, request.force)
        write_card(sweep, registry.name, candidate, decision)
        for line in ("decision:", *decision.lines()):
            request.print_line(line)
        request.print_line(f"  {describe_reads(reads_of_test_split(runs, sweep.plan.fingerprint))}")
        if request.dry_run or not decision.promote:
            return Outcome(decision.promote, None)
        version = _register(sweep, registry, candidate, decision, step)
        request.print_line(f"registered: {registry.name} version {version.number}")
        step("load back")
        _load_back(sweep, registry, candidate, version)
        request.print_line("fetched back from the registry and scored: the same figures")
        turn.check()
        registry.update_tags(version, registry_entry(sweep, candidate, decision))
        registry.set_champion(version, None if champion is None else champion.number, step)
        return Outcome(True, version.number)


def _candidate(sweep: Sweep, request: PromotionRequest, step: Callable[[str], None]) -> Candidate:
    """The best of the confirmed trials, packaged and scored."""
    found = rank_candidates(sweep, request.trials)
    for line in _confirmed(found):
        request.print_line(line)
    trial = found[0].best_confirmation
    trainer = sweep.resolved.trainer
    config = trainer.config.model_validate(read_spec(trial).config)
    checkpoints = best_checkpoint_folder(trial)
    paths = candidate_paths(sweep.paths, trial.name)
    if not paths.package.exists():
        step("export")
        paths.folder.mkdir(parents=True, exist_ok=True)
        try:
            trainer.export(config, checkpoints, paths.package)
        except ValueError as error:
            raise InputError(f"{trial.name}: {error}") from error
    step("score")
    scored = score_or_read(
        sweep, config, model_label(sweep.paths.name, trial.name), "candidate", paths
    )
    key = sha256((checkpoints / "best.pt").read_bytes()).hexdigest()[:32]
    return Candidate(found, config, paths, scored, key)


def _confirmed(found: list[CandidateTrial]) -> Iterator[str]:
    """What training again has shown, a line a trial."""
    metric = found[0].objective.metric
    yield f"{metric} in the search, and from {len(found[0].seeds)} new seeds:"
    for at, contender in enumerate(found):
        mark = "→" if at == 0 else " "
        yield (
            f"  {mark} {contender.searched.name}  {contender.value:.4f}  "
            f"{contender.mean:.4f} ± {contender.spread:.4f}  "
            f"(selection bias {contender.selection_bias:+.4f})"
        )


def _register(
    sweep: Sweep,
    registry: Registry,
    candidate: Candidate,
    decision: Decision,
    step: Callable[[str], None],
) -> Version:
    step("publish")
    for each in (sweep, open_sweep(sweep.paths.confirmation)):
        if (problem := publish_once(each)) is not None:
            raise EnvironmentFailure(
                f"nothing is registered before MLflow is up to date: {problem}"
            )
    write_card(sweep, registry.name, candidate, decision)  # the runs are known only now
    return registry.register(sweep, registry_entry(sweep, candidate, decision), step)


def _load_back(sweep: Sweep, registry: Registry, candidate: Candidate, version: Version) -> None:
    """Fetch the version and score it: what people will get is what was decided on.

    Raises:
        WorldError: it is not.
    """
    name = f"{registry.name} version {version.number}"
    at = champion_paths(sweep.paths, version)
    package = registry.fetch(version)
    why = "fetched back"
    again = score_package(sweep, candidate.config, package, candidate.label, why, at.evaluation)
    if different := candidate.scored.differs_from(again):
        candidate.paths.scores.unlink(missing_ok=True)  # the next run scores anew
        raise EnvironmentFailure(
            f"{name} is not what was decided on: {'; '.join(different[:3])}; run this again"
        )
    atomic.write(at.scores, json.dumps(asdict(again), indent=2))
