"""The steps of a promotion. Killed at any point, it continues when it is run again.

The result of each step is stored in the candidate's folder or in the registry, and the step first
looks for it there. The alias `champion` moves last: nothing that people use changes until the new
version has been fetched from the registry and scored again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.promotion.candidate import Candidate, CandidateTrial, model_label, rank_candidates
from sweeps.promotion.confirm import best_checkpoint_of
from sweeps.promotion.decide import decide
from sweeps.promotion.entities import (
    CHAMPION,
    LOCK_STALE_SECONDS,
    Version,
    champion_paths,
)
from sweeps.promotion.gate import Decision
from sweeps.promotion.model_card import registry_entry, write_card
from sweeps.promotion.registry import KEY_TAG, Registry
from sweeps.promotion.scores import (
    describe_reads,
    reads_of_test_split,
    score_or_read,
    score_package,
)
from sweeps.storage.paths import TrialPaths
from sweeps.storage.promotion_paths import candidate_paths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_spec
from sweeps.tracking.publisher import errors_in_one_line
from sweeps.tracking.sync import publish_once, store_of_sweep

RENEW_SECONDS = 20.0
PATIENCE_SECONDS = 3600.0
"""How many seconds a second promotion of the same model waits for the first."""


def ignore_step(name: str) -> None:
    """Do nothing; `promote` calls it before each step with effects, and tests replace it."""


@dataclass(frozen=True)
class PromotionRequest:
    """The request of a person to promote.

    Attributes:
        trials: confirmed trials of the search, of which the best is to be promoted.
        dry_run: whether to decide only, and register nothing.
        force: a reason to promote even if the gate refuses; empty for none.
        print_line: prints a line of output.
    """

    trials: list[TrialPaths]
    dry_run: bool
    force: str
    print_line: Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a promotion ended.

    Attributes:
        passed: whether the candidate may become the champion, or is the champion.
        version: its number in the registry; None if nothing was registered.
        was_champion: whether it was the champion before, so that nothing has changed.
        replaced: the number of the champion before it; None if it is the first.
        champion: the version in use after it; None if nothing was registered.
        folder: the files of that version; None if they are not on this machine.
    """

    passed: bool
    version: int | None
    was_champion: bool = False
    replaced: int | None = field(default=None, compare=False)
    champion: Version | None = field(default=None, compare=False)
    folder: Path | None = field(default=None, compare=False)


def promote(
    sweep: Sweep, request: PromotionRequest, step: Callable[[str], None] = ignore_step
) -> Outcome:
    """Compare the best of the confirmed trials with the champion, and promote it if it is better.

    Args:
        sweep: the search.
        request: what is requested.
        step: called with the name of each step before the step begins.

    Raises:
        InputError: the package cannot be made or is damaged, or the data cannot be read.
        EnvironmentFailure: the registry failed, or the champion or the data changed meanwhile.
    """
    store = store_of_sweep(sweep)
    with errors_in_one_line(store):
        return _promote(sweep, Registry(store, sweep.experiment.model_name), request, step)


def _promote(
    sweep: Sweep, registry: Registry, request: PromotionRequest, step: Callable[[str], None]
) -> Outcome:
    runs = sweep.paths.runs
    folder = runs.registry_lock(registry.name)
    lock = Lock(folder, stale_after=LOCK_STALE_SECONDS, patience=PATIENCE_SECONDS)
    with lock.hold() as turn, turn.keep_renewed(RENEW_SECONDS):
        candidate = _candidate(sweep, request, step)
        champion = registry.version(CHAMPION)
        if champion is not None and champion.tags.get(KEY_TAG) == candidate.key:
            request.print_line(
                f"this model is the champion already: {registry.name} version {champion.number}"
            )
            files = registry.folder(champion)
            return Outcome(
                True, champion.number, was_champion=True, champion=champion, folder=files
            )
        decision = decide(sweep, registry, candidate, champion, request.force)
        write_card(sweep, registry.name, candidate, decision)
        for line in ("decision:", *decision.lines()):
            request.print_line(line)
        request.print_line(f"  {describe_reads(reads_of_test_split(runs, sweep.plan.fingerprint))}")
        if request.dry_run or not decision.promote:
            return Outcome(decision.promote, None)
        version = _register(sweep, registry, candidate, decision, step)
        request.print_line(f"registered: {registry.name} version {version.number}")
        step("verify")
        _verify_version(sweep, registry, candidate, version)
        request.print_line(
            "verified: it was fetched from the registry and scored again; the scores are the same"
        )
        turn.check()
        registry.update_tags(version, registry_entry(sweep, candidate, decision))
        replaced = None if champion is None else champion.number
        registry.set_champion(version, replaced, step)
        promoted, files = registry.version(CHAMPION) or version, registry.folder(version)
        return Outcome(True, version.number, replaced=replaced, champion=promoted, folder=files)


def _candidate(sweep: Sweep, request: PromotionRequest, step: Callable[[str], None]) -> Candidate:
    """Return the best of the confirmed trials, packaged and scored."""
    ranked = rank_candidates(sweep, request.trials)
    for line in _ranking_lines(ranked):
        request.print_line(line)
    trial = ranked[0].best_confirmation
    trainer = sweep.resolved.trainer
    config = trainer.config.model_validate(read_spec(trial).config)
    checkpoint = best_checkpoint_of(trial)
    paths = candidate_paths(sweep.paths, trial.name)
    if not paths.package.exists():
        step("export")
        paths.folder.mkdir(parents=True, exist_ok=True)
        try:
            trainer.export(config, checkpoint.parent, paths.package)
        except ValueError as error:
            raise InputError(f"{trial.name}: {error}") from error
    step("score")
    scored = score_or_read(
        sweep, config, model_label(sweep.paths.name, trial.name), "candidate", paths
    )
    key = sha256(checkpoint.read_bytes()).hexdigest()[:32]
    return Candidate(ranked, config, paths, scored, key)


def _ranking_lines(ranked: list[CandidateTrial]) -> Iterator[str]:
    """Yield a heading, and for each trial its value in the search and with new seeds."""
    metric = ranked[0].objective.metric
    yield (
        f"{metric} in the search, and its mean ± standard deviation with "
        f"{len(ranked[0].seeds)} new seeds (→ is the best mean):"
    )
    for index, trial in enumerate(ranked):
        mark = "→" if index == 0 else " "
        yield (
            f"  {mark} {trial.searched.name}  {trial.value:.4f}  "
            f"{trial.mean:.4f} ± {trial.spread:.4f}  {trial.describe_selection_bias()}"
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
                f"nothing is registered, because MLflow is not up to date: {problem}; "
                "run the same command again"
            )
    # Again, because only now MLflow has the runs that the card names.
    write_card(sweep, registry.name, candidate, decision)
    return registry.register(sweep, registry_entry(sweep, candidate, decision), step)


def _verify_version(
    sweep: Sweep, registry: Registry, candidate: Candidate, version: Version
) -> None:
    """Fetch the version from the registry and score it: people must get what was decided on.

    Raises:
        EnvironmentFailure: its scores differ.
    """
    name = f"{registry.name} version {version.number}"
    paths = champion_paths(sweep.paths, version)
    package = registry.fetch(version)
    why = "fetched back"
    scored = score_package(sweep, candidate.config, package, candidate.label, why, paths.evaluation)
    if different := candidate.scored.differs_from(scored):
        candidate.paths.scores.unlink(missing_ok=True)  # the next run scores the candidate again
        raise EnvironmentFailure(
            f"{name}: the registered model has other scores than the candidate: "
            f"{'; '.join(different[:3])}; run the same command again"
        )
    atomic.write(paths.scores, json.dumps(asdict(scored), indent=2))
