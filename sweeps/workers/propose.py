"""Asking for a new trial: what happens under the one lock that all workers of a sweep share."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from sweeps.config.experiment import signature
from sweeps.config.space import Values
from sweeps.filesystem import atomic as files
from sweeps.filesystem.lock import LockLostError, Turn
from sweeps.search.study import Member, Study, Told
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep, forgiven
from sweeps.storage.trial_record import State, Trial, read_trial, state_of, write_trial
from sweeps.workers.claims import Claim, claim_text

PATIENCE = 30
"""Proposals in a row that may repeat earlier ones before the remaining points are listed."""


@dataclass(frozen=True)
class Asker:
    """Who asks: the sweep, its study, and what a trial made here computes with."""

    sweep: Sweep
    study: Study
    job: str
    threads: int

    def ask(self) -> Claim | None:
        """A new trial, claimed; None where the budget is used up or the space has nothing new."""
        while True:
            try:
                return self._ask_in_turn()
            except LockLostError as lost:  # it stood still; what it proposed was given up
                print(f"{lost}; asking again", flush=True)

    def _ask_in_turn(self) -> Claim | None:
        with self.sweep.asking_lock().hold() as turn:
            _void_what_was_cut_short(self.sweep.paths, self.study)
            if _counted(self.sweep.paths) >= self.sweep.experiment.trials:
                return None
            if self.sweep.paths.exhausted.exists():
                return None
            for _ in range(PATIENCE):
                wanted = next(self._wanted(), None)
                if wanted is None and self.sweep.experiment.sampler.kind == "enqueued":
                    self._end_with("all that was enqueued")
                    return None
                if (claim := self._propose(wanted, turn)) is not None:
                    return claim
            return self._ask_what_is_left(turn)

    def _ask_what_is_left(self, turn: Turn) -> Claim | None:
        for values in self._untried():
            if (claim := self._propose(values, turn)) is not None:
                return claim
        listed = self.sweep.resolved.space.points() is not None
        self._end_with("every point" if listed else "nothing new")
        return None

    def _end_with(self, tried: str) -> None:
        """Record that the sweep has nothing more to try, and what was tried."""
        files.write(self.sweep.paths.exhausted, json.dumps({"tried": tried}))

    def _propose(self, wanted: Values | None, turn: Turn) -> Claim | None:
        """Ask the study once; None where the proposal was an earlier one, or no configuration."""
        turn.renew()  # thirty proposals may take longer than a silent holder is believed alive
        number, values = self.study.ask(self.sweep.resolved.space, wanted)
        try:
            config = self.sweep.resolved.config(values)
        except ValidationError:
            self.study.void(number)
            return None
        content = config.model_dump(mode="json")
        if (twin := self._twin(number, signature(content))) is not None:
            self.study.tell_duplicate(number, twin)
            return None
        trial = Trial(
            number=number,
            values=values,
            config=content,
            epochs=self.sweep.resolved.trainer.epochs(config),
            threads=self.threads,
            commit=self.sweep.plan.commit,
        )
        return self._make_folder(trial, turn)

    def _make_folder(self, trial: Trial, turn: Turn) -> Claim:
        """The trial's folder, with the first claim in it: there whole, or not at all."""
        paths = self.sweep.paths
        draft = paths.draft_trial(trial.number)
        shutil.rmtree(draft.folder, ignore_errors=True)
        draft.attempt(1).folder.mkdir(parents=True)
        write_trial(draft, trial)
        files.write(draft.attempt(1).claim, claim_text(self.job))
        final = paths.trial(trial.number, signature(trial.config))
        try:
            turn.renew()  # a frozen asker that was passed over must not add a trial nobody counted
        except LockLostError:
            shutil.rmtree(draft.folder)
            raise
        draft.folder.rename(final.folder)
        return Claim(final, final.attempt(1))

    def _twin(self, number: int, content_signature: str) -> Member | None:
        """An earlier trial of the same configuration that did not fail."""
        for paths in self.sweep.paths.trials():
            alike = paths.signature == content_signature and paths.number != number
            if alike and state_of(paths) is not State.FAILED:
                return self.study.member(paths.number)
        return None

    def _wanted(self) -> Iterator[Values]:
        """What is to be tried before the sampler is asked: enqueued values, forgiven failures."""
        last = {trial.signature: trial for trial in self.sweep.paths.trials()}
        resolved = self.sweep.resolved
        for values in resolved.enqueued:
            if resolved.signature_of(values) not in last:
                yield values
        until = forgiven(self.sweep.paths)
        for trial in last.values():
            if trial.number <= until and state_of(trial) is State.FAILED:
                yield dict(read_trial(trial).values)

    def _untried(self) -> Iterator[Values]:
        tried = {trial.signature for trial in self.sweep.paths.trials()}
        resolved = self.sweep.resolved
        for values in resolved.space.points() or ():
            try:
                if resolved.signature_of(values) not in tried:
                    yield values
            except ValidationError:  # a combination that the trainer refuses
                continue


def _counted(paths: SweepPaths) -> int:
    return sum(state_of(trial).counts for trial in paths.trials())


def _void_what_was_cut_short(paths: SweepPaths, study: Study) -> None:
    """Settle what asks that were killed half way left: a trial in the study without a folder."""
    there = {trial.number for trial in paths.trials()}
    for member in study.members():
        if member.told is Told.NOTHING and member.number not in there:
            study.void(member.number)
