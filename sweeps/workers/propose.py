"""Asking for a new trial: what happens under the one lock that all workers of a sweep share."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from sweeps.config.experiment import config_signature
from sweeps.config.space import Values
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import LockLostError, Turn
from sweeps.search.study import ReportedState, Study, StudyTrial
from sweeps.storage.paths import SweepPaths
from sweeps.storage.progress import Exhausted, record_exhausted
from sweeps.storage.sweep import Sweep, retried_up_to
from sweeps.storage.trial_record import State, TrialSpec, read_spec, state_of, write_spec
from sweeps.workers.claims import Claim, claim_text

MAX_REPEATED_PROPOSALS = 30
"""Proposals in a row that may repeat earlier ones before the remaining points are listed."""


@dataclass(frozen=True)
class Proposer:
    """Who asks: the sweep, its study, and what a trial made here computes with."""

    sweep: Sweep
    study: Study
    job: str
    threads: int

    def propose(self) -> Claim | None:
        """A new trial, claimed; None where the budget is used up or the space has nothing new."""
        while True:
            try:
                return self._propose_under_lock()
            except LockLostError as lost:  # it stood still; what it proposed was given up
                print(f"{lost}; asking again", flush=True)

    def _propose_under_lock(self) -> Claim | None:
        with self.sweep.proposal_lock().hold() as turn:
            _discard_interrupted_proposals(self.sweep.paths, self.study)
            if not self.sweep.progress().to_propose or self.sweep.paths.exhausted.exists():
                return None
            for _ in range(MAX_REPEATED_PROPOSALS):
                wanted = next(self._queued_values(), None)
                if wanted is None and self.sweep.experiment.sampler.kind == "enqueued":
                    record_exhausted(self.sweep.paths, Exhausted.ENQUEUED)
                    return None
                if (claim := self._propose_once(wanted, turn)) is not None:
                    return claim
            return self._propose_remaining(turn)

    def _propose_remaining(self, turn: Turn) -> Claim | None:
        for values in self._untried_points():
            if (claim := self._propose_once(values, turn)) is not None:
                return claim
        listed = self.sweep.resolved.space.points() is not None
        reason = Exhausted.EVERY_POINT if listed else Exhausted.NOTHING_NEW
        record_exhausted(self.sweep.paths, reason)
        return None

    def _propose_once(self, wanted: Values | None, turn: Turn) -> Claim | None:
        """Ask the study once; None where the proposal was an earlier one, or no configuration."""
        turn.renew()  # thirty proposals may take longer than a silent holder is believed alive
        number, values = self.study.ask(self.sweep.resolved.space, wanted)
        try:
            config = self.sweep.resolved.config(values)
        except ValidationError:
            self.study.discard(number)
            return None
        content = config.model_dump(mode="json")
        if (twin := self._find_duplicate(number, config_signature(content))) is not None:
            self.study.tell_duplicate(number, twin)
            return None
        trial = TrialSpec(
            number=number,
            values=values,
            config=content,
            epochs=self.sweep.resolved.trainer.epochs(config),
            threads=self.threads,
            commit=self.sweep.plan.commit,
        )
        return self._make_folder(trial, turn)

    def _make_folder(self, trial: TrialSpec, turn: Turn) -> Claim:
        """The trial's folder, with the first claim in it: there whole, or not at all."""
        paths = self.sweep.paths
        draft = paths.draft_trial(trial.number)
        shutil.rmtree(draft.folder, ignore_errors=True)
        draft.attempt(1).folder.mkdir(parents=True)
        write_spec(draft, trial)
        atomic.write(draft.attempt(1).claim, claim_text(self.job))
        final = paths.trial(trial.number, config_signature(trial.config))
        try:
            turn.renew()  # a frozen asker that was passed over must not add a trial nobody counted
        except LockLostError:
            shutil.rmtree(draft.folder)
            raise
        draft.folder.rename(final.folder)
        return Claim(final, final.attempt(1))

    def _find_duplicate(self, number: int, content_signature: str) -> StudyTrial | None:
        """An earlier trial of the same configuration that did not fail."""
        for paths in self.sweep.paths.trials():
            alike = paths.signature == content_signature and paths.number != number
            if alike and state_of(paths) is not State.FAILED:
                return self.study.trial(paths.number)
        return None

    def _queued_values(self) -> Iterator[Values]:
        """What is to be tried before the sampler is asked: enqueued values, forgiven failures."""
        last = {trial.signature: trial for trial in self.sweep.paths.trials()}
        resolved = self.sweep.resolved
        for values in resolved.enqueued:
            if resolved.signature_of(values) not in last:
                yield values
        until = retried_up_to(self.sweep.paths)
        for trial in last.values():
            if trial.number <= until and state_of(trial) is State.FAILED:
                yield dict(read_spec(trial).values)

    def _untried_points(self) -> Iterator[Values]:
        tried = {trial.signature for trial in self.sweep.paths.trials()}
        resolved = self.sweep.resolved
        for values in resolved.space.points() or ():
            try:
                if resolved.signature_of(values) not in tried:
                    yield values
            except ValidationError:  # a combination that the trainer refuses
                continue


def _discard_interrupted_proposals(paths: SweepPaths, study: Study) -> None:
    """Settle what asks that were killed half way left: a trial in the study without a folder."""
    there = {trial.number for trial in paths.trials()}
    for member in study.trials():
        if member.reported is ReportedState.NOTHING and member.number not in there:
            study.discard(member.number)
