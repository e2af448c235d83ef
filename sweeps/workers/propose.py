"""Proposing a new trial, under the one lock that all workers of a sweep share."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from sweeps.config.resolve import config_signature
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
"""Repeated proposals in a row after which the points that are left are tried in order."""


@dataclass(frozen=True)
class Proposer:
    """Proposes trials for one worker.

    Attributes:
        sweep: the sweep.
        study: its study.
        job: the worker's job, which is written into claims.
        threads: how many CPU threads a new trial computes with.
    """

    sweep: Sweep
    study: Study
    job: str
    threads: int

    def propose(self) -> Claim | None:
        """Return the claim on a new trial; None if all are proposed or the space has no new one."""
        while True:
            try:
                return self._propose_under_lock()
            except LockLostError as lost:  # this process was stopped; its proposal was discarded
                print(f"{lost}; proposing again", flush=True)

    def _propose_under_lock(self) -> Claim | None:
        with self.sweep.proposal_lock().hold() as turn:
            _discard_interrupted_proposals(self.sweep.paths, self.study)
            if not self.sweep.progress().to_propose or self.sweep.paths.exhausted.exists():
                return None
            for _ in range(MAX_REPEATED_PROPOSALS):
                queued = next(self._queued_values(), None)
                if queued is None and self.sweep.experiment.sampler.kind == "enqueued":
                    record_exhausted(self.sweep.paths, Exhausted.ENQUEUED)
                    return None
                if queued is None and self.sweep.experiment.sampler.kind == "grid":
                    break
                if (claim := self._propose_once(queued, turn)) is not None:
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

    def _propose_once(self, fixed: Values | None, turn: Turn) -> Claim | None:
        """Ask the study once; None if the proposal is a repetition or the trainer refuses it."""
        turn.renew()  # thirty proposals may take longer than a silent holder keeps the lock
        number, values = self.study.ask(self.sweep.resolved.space, fixed)
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
        """Create the trial's folder with the first claim in it; it appears complete or not."""
        paths = self.sweep.paths
        draft = paths.draft_trial(trial.number)
        shutil.rmtree(draft.folder, ignore_errors=True)
        draft.attempt(1).folder.mkdir(parents=True)
        write_spec(draft, trial)
        atomic.write(draft.attempt(1).claim, claim_text(self.job))
        final = paths.trial(trial.number, config_signature(trial.config))
        try:
            turn.renew()  # a process that was passed over must not add a trial beyond the total
        except LockLostError:
            shutil.rmtree(draft.folder)
            raise
        draft.folder.rename(final.folder)
        return Claim(final, final.attempt(1))

    def _find_duplicate(self, number: int, content_signature: str) -> StudyTrial | None:
        """Return an earlier trial of the same configuration that did not fail, if there is one."""
        for paths in self.sweep.paths.trials():
            same = paths.signature == content_signature and paths.number != number
            if same and state_of(paths) is not State.FAILED:
                return self.study.trial(paths.number)
        return None

    def _queued_values(self) -> Iterator[Values]:
        """Yield values to try before the sampler is asked: enqueued trials, failed ones again."""
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
            except ValidationError:  # the trainer refuses this combination
                continue


def _discard_interrupted_proposals(paths: SweepPaths, study: Study) -> None:
    """Discard what killed proposals left: trials of the study without a folder."""
    existing = {trial.number for trial in paths.trials()}
    for member in study.trials():
        if member.reported is ReportedState.NOTHING and member.number not in existing:
            study.discard(member.number)
