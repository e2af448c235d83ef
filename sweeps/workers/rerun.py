"""Training a trial's configuration again beside its sweep.

The folder has the form of a trial's, so that everything that reads trials reads it, too. It is not
among the sweep's trials: it counts for nothing, and the study is told nothing of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweeps.config.toml import flatten, replace_values, validate
from sweeps.errors import InputError
from sweeps.search.pruning import best_epoch
from sweeps.storage.paths import TrialPaths
from sweeps.storage.retention import trim_checkpoints
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import (
    State,
    TrialResult,
    TrialSpec,
    append_row,
    claim_owner,
    continued_epoch,
    is_abandoned,
    read_curve,
    read_result,
    read_spec,
    write_continued,
    write_result,
    write_spec,
)
from sweeps.trainer import Epoch
from sweeps.workers.claims import Claim, claim_after


@dataclass(frozen=True)
class Rerun:
    """A configuration of a sweep that is trained again.

    Attributes:
        sweep: the sweep.
        paths: the folder, in the form of a trial's.
        spec: what is trained.
        config: the same configuration, as the trainer's class.
    """

    sweep: Sweep
    paths: TrialPaths
    spec: TrialSpec
    config: Any

    def train(self) -> Iterator[Epoch]:
        """Train, and yield each finished epoch; an interrupted rerun continues.

        Raises:
            InputError: another process trains it now, or the data are missing.
        """
        if read_result(self.paths) is not None:
            return
        trainer = self.sweep.resolved.trainer
        try:
            trainer.prepare([self.config])
        except ValueError as error:
            raise InputError(str(error)) from error
        claim = self._claim()
        try:
            yield from self._epochs(claim)
        finally:
            claim.release()
        result = self._result()
        write_result(self.paths, result)
        self.paths.settled.touch()  # no study waits for it
        trim_checkpoints(self.paths)
        if result.state is State.COMPLETE:
            trainer.write_figure(self.config, claim.attempt.checkpoints, claim.attempt.figure)

    def _claim(self) -> Claim:
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        write_spec(self.paths, self.spec)
        attempts = self.paths.attempts()
        claim = None
        if not attempts or is_abandoned(attempts[-1]):
            claim = claim_after(self.paths, len(attempts), job="rerun")
        if claim is None:
            owner = claim_owner(self.paths.attempts()[-1])
            raise InputError(
                f"{self.paths.folder}: process {owner.pid} of {owner.machine} trains it; wait for "
                "it, or, if that machine was lost, remove the folder"
            )
        return claim

    def _epochs(self, claim: Claim) -> Iterator[Epoch]:
        earlier = [a.checkpoints for a in reversed(self.paths.attempts()[:-1])]
        claim.attempt.checkpoints.mkdir(exist_ok=True)
        for epoch in self.sweep.resolved.trainer.fit(
            self.config,
            claim.attempt.checkpoints,
            continue_from=earlier,
            threads=self.spec.threads,
            should_stop=lambda: False,
            objective=self.sweep.resolved.experiment.objective,
            accumulation_steps=1,
        ):
            if continued_epoch(claim.attempt) is None:
                write_continued(claim.attempt, epoch.epoch - 1)
            append_row(claim.attempt, epoch)
            yield epoch

    def _result(self) -> TrialResult:
        objective = self.sweep.resolved.experiment.objective
        rows = read_curve(self.paths)
        if rows[-1].diverged or objective.metric not in rows[-1].metrics:
            reason = rows[-1].diverged or f"{objective.metric} is missing or not finite"
            worst = self.sweep.resolved.worst_value
            return TrialResult(State.DIVERGED, worst, None, len(rows), reason)
        at, value = best_epoch(
            {row.epoch: row.metrics[objective.metric] for row in rows}, objective
        )
        return TrialResult(State.COMPLETE, value, at, len(rows))


def make_rerun(sweep: Sweep, trial: TrialPaths, seed: int | None) -> Rerun:
    """Return the rerun of a trial; nothing is written yet.

    Args:
        sweep: the trial's sweep.
        trial: the trial.
        seed: the seed to train with; None for the trial's own.

    Raises:
        InputError: the trainer refuses the seed.
    """
    spec, trainer = read_spec(trial), sweep.resolved.trainer
    seed = _seed_of(spec.config, trainer.seed) if seed is None else seed
    tables = replace_values(spec.config, {trainer.seed: seed})
    config = validate(tables, trainer.config, f"seed {seed} for trial {trial.name}")
    spec = replace(spec, config=config.model_dump(mode="json"))
    return Rerun(sweep, sweep.paths.rerun(trial.name, seed), spec, config)


def _seed_of(config: Mapping[str, Any], path: str) -> int:
    return int(flatten(config)[path])
