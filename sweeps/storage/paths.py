"""Where everything lies. No other file joins the names of files.

runs/
  mlflow.db  artifacts/  store/          what MLflow is shown
  store/slurm-<user>/                    what SLURM answered, and when it was asked
    queue.json  partitions.txt  user.txt  queries.json  clock  lock/
  <sweep>/
    sweep.json  experiment.toml          what the sweep is; the experiment as last given
    plan.json  mlflow.json               what workers go by; what MLflow was given
    study.jsonl  locks/                  the study and the locks on it
    stop.json  exhausted.json  retried.json
    jobs/<token>/                        one folder a job
    promotion/                           see sweeps/promotion/entities.py
    trials/0007-1a2b3c4d/                one folder a trial
      config.json  result.json  settled  mlflow.json
      attempts/<n>/                      one folder a claim on it
        claim.json  continued.json  released  heartbeat  metrics.jsonl
        checkpoints/  figure.png  traceback.txt  failure.json
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweeps.config.names import CONFIRMATION_SUFFIX

_DRAFT = re.compile(r"\..+\.([0-9a-f]{12}|(draft-)?\d+)|\.draft-\d+")
"""Names under which files and folders are filled before they take their own."""


class _HasFolder(Protocol):
    @property
    def folder(self) -> Path: ...


class PathIn:
    """A file or folder of a fixed name in the owner's folder: `owner.name` is its path."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, owner: _HasFolder, kind: type) -> Path:
        return owner.folder.joinpath(*self._parts)


@dataclass(frozen=True)
class AttemptPaths:
    """The folder of one claim on a trial; its owner writes there, or who saw that it died."""

    folder: Path

    claim = PathIn(
        "claim.json"
    )  # who claimed the trial, and when: the attempt exists once this does
    continued = PathIn("continued.json")  # up to which epoch it continues what earlier ones did
    released = PathIn("released")  # there once the owner gave the trial back, unfinished
    heartbeat = PathIn("heartbeat")  # a number that grows while the owner lives
    metrics = PathIn("metrics.jsonl")  # one row an epoch
    checkpoints = PathIn("checkpoints")  # the trainer's folder
    last_checkpoint = PathIn("checkpoints", "last.pt")  # what the next attempt continues from
    best_checkpoint = PathIn("checkpoints", "best.pt")  # the best epoch's model
    traceback = PathIn("traceback.txt")  # where the trainer raised
    failure = PathIn("failure.json")  # what went wrong without ending the trial
    figure = PathIn("figure.png")  # what the best model does, to look at

    @property
    def number(self) -> int:
        """Counted from 1; the highest number has the trial."""
        return int(self.folder.name)


@dataclass(frozen=True)
class TrialPaths:
    """The folder of one trial, called by its number and its signature: `0007-1a2b3c4d`."""

    folder: Path

    config = PathIn("config.json")  # all that was resolved for this trial
    result = PathIn("result.json")  # how the trial ended; there once it has
    settled = PathIn("settled")  # there once the study was told of the result
    mlflow = PathIn("mlflow.json")  # what of this trial MLflow has been given

    @property
    def name(self) -> str:
        """Number and signature."""
        return self.folder.name

    @property
    def number(self) -> int:
        """The trial's number in the study."""
        return int(self.name.partition("-")[0])

    @property
    def signature(self) -> str:
        """The signature of the trial's configuration."""
        return self.name.partition("-")[2]

    def attempt(self, number: int) -> AttemptPaths:
        """The folder of attempt `number`, there or not."""
        return AttemptPaths(self.folder / "attempts" / str(number))

    def attempts(self) -> list[AttemptPaths]:
        """Every attempt that was claimed, in order."""
        found: list[AttemptPaths] = []
        while (attempt := self.attempt(len(found) + 1)).claim.exists():
            found.append(attempt)
        return found


@dataclass(frozen=True)
class JobPaths:
    """The folder of one job, called by its token: its name before the scheduler numbers it."""

    folder: Path

    submitted = PathIn("submitted.json")  # the job's record, by whoever sent it
    started = PathIn("started.json")  # the same, by the job itself; touched while it lives
    ended = PathIn("ended")  # there once its work was done
    final_state = PathIn("final_state.json")  # what accounting says, where it left the queue
    bad_node = PathIn(
        "bad_node.json"
    )  # the node, where it lacks what the job was promised, and why
    publisher_log = PathIn("publisher.log")  # what the job's publisher printed

    @property
    def token(self) -> str:
        """The job's name before the scheduler gave it a number."""
        return self.folder.name

    def worker_log(self, number: int) -> Path:
        """What worker `number` of the job printed."""
        return self.folder / f"worker-{number}.log"


@dataclass(frozen=True)
class SweepPaths:
    """The folder of one sweep: all that its workers share."""

    folder: Path

    identity = PathIn("sweep.json")  # what cannot change under the sweep
    experiment = PathIn("experiment.toml")  # the experiment as last given
    plan = PathIn("plan.json")  # what workers go by, and may change from one run to the next
    study = PathIn("study.jsonl")  # Optuna's journal
    stop = PathIn("stop.json")  # there while the sweep is stopped; says why
    exhausted = PathIn("exhausted.json")  # there once there is nothing more to try; says why
    retried = PathIn("retried.json")  # up to which number failed trials are tried again
    mlflow = PathIn("mlflow.json")  # what of the sweep as a whole MLflow has been given
    promotion = PathIn("promotion")  # what was found of candidates
    trials_folder = PathIn("trials")  # the folder of all trials
    submission_log = PathIn("jobs", "submission.log")  # what submissions to this machine printed
    scheduler_logs = PathIn("jobs", "submitit")  # submitit's folder

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @property
    def runs(self) -> "RunsPaths":
        """The folder of all sweeps."""
        return RunsPaths(self.folder.parent)

    @property
    def slurm(self) -> "SlurmPaths":
        """What SLURM was asked lately, for this sweep and those beside it."""
        return self.runs.slurm

    @property
    def confirmation(self) -> "SweepPaths":
        """The sweep that trains this one's best trials again, there or not."""
        return SweepPaths(self.folder.with_name(self.name + CONFIRMATION_SUFFIX))

    def lock(self, name: str) -> Path:
        """The folder of the lock called `name`."""
        return self.folder / "locks" / name

    def job(self, token: str) -> JobPaths:
        """The folder of the job called `token`, there or not."""
        return JobPaths(self.folder / "jobs" / token)

    def jobs(self) -> list[JobPaths]:
        """Every job that was sent or that started, oldest first."""
        found = {file.parent for file in self.folder.glob("jobs/*/submitted.json")}
        found |= {file.parent for file in self.folder.glob("jobs/*/started.json")}
        return [JobPaths(folder) for folder in sorted(found)]

    def unrecorded_jobs(self) -> list[JobPaths]:
        """Every job that was about to be sent and has not been heard of since."""
        known = {job.folder for job in self.jobs()} | {self.scheduler_logs}
        found = (folder for folder in self.folder.glob("jobs/*/") if folder not in known)
        return [JobPaths(folder) for folder in sorted(found)]

    def trial(self, number: int, signature: str) -> TrialPaths:
        """The folder of a trial, there or not."""
        return TrialPaths(self.trials_folder / f"{number:04d}-{signature}")

    def draft_trial(self, number: int) -> TrialPaths:
        """Where a trial's folder is filled before it takes its name."""
        return TrialPaths(self.trials_folder / f".draft-{number:04d}")

    def trials(self) -> list[TrialPaths]:
        """Every trial, in the order of their numbers.

        A folder without a configuration is what a worker went on writing into when somebody had
        removed the trial.
        """
        found = (TrialPaths(path) for path in self.trials_folder.glob("[0-9]*-*"))
        return sorted((t for t in found if t.config.exists()), key=lambda trial: trial.number)

    def drafts(self) -> list[Path]:
        """Files and folders that a writer has not finished, or never will."""
        found = []
        for folder, folders, names in os.walk(self.folder):  # what goes meanwhile is no matter
            found += [Path(folder) / name for name in folders + names if _DRAFT.fullmatch(name)]
        return sorted(found)


@dataclass(frozen=True)
class DoctorPaths:
    """The folder of one examination of the site."""

    folder: Path

    findings = PathIn("findings.json")  # what the job saw
    probe = PathIn("probe")  # a file that is replaced to see whether that works
    lock = PathIn("locks", "doctor")  # the folder of a lock that is tried

    @property
    def sweep(self) -> SweepPaths:
        """The folder as that of a sweep without trials: where its job's logs are."""
        return SweepPaths(self.folder)

    def clock(self, host: str) -> Path:
        """A file whose time, from the file server, is compared with a host's."""
        return self.folder / f"clock-{host}"


@dataclass(frozen=True)
class SlurmPaths:
    """What SLURM answered to one user's sweeps, and how often it was asked."""

    folder: Path

    queue = PathIn("queue.json")  # what squeue answered last
    partitions = PathIn("partitions.txt")  # what scontrol answered of them
    user = PathIn("user.txt")  # what sacctmgr answered of whoever asked
    queries = PathIn("queries.json")  # when SLURM was asked in the last minute
    clock = PathIn("clock")  # touched to learn the file server's time
    lock = PathIn("lock")  # the folder of the lock on all these


@dataclass(frozen=True)
class RunsPaths:
    """The folder of all sweeps, and of the store that shows them."""

    folder: Path

    database = PathIn("mlflow.db")  # MLflow's
    database_drafts = PathIn("store", "drafts")  # while its tables are being made
    artifacts = PathIn("artifacts")  # MLflow's
    lease = PathIn("store", "lease.json")  # which host may write to the database
    store_location = PathIn("store", "store_location.json")  # where it lay when it was last written
    lock = PathIn("store", "lock")  # the folder of the publishers' lock
    test_reads = PathIn("store", "test-reads.jsonl")  # when test splits were read, and for what

    @property
    def slurm(self) -> SlurmPaths:
        """What SLURM answered to this user: another one's jobs are not in this one's queue."""
        return SlurmPaths(self.folder / "store" / f"slurm-{os.getuid()}")

    def registry_lock(self, model: str) -> Path:
        """The folder of the lock on one registered model."""
        return self.folder / "store" / f"registry-{model}"

    def probe(self, name: str) -> Path:
        """A file that is made to see whether files can be made here."""
        return self.folder / f".probe-{name}"

    def doctor(self, name: str) -> DoctorPaths:
        """The folder of an examination of the site."""
        return DoctorPaths(self.folder / f".doctor-{name}")

    def artifacts_of(self, sweep: str) -> Path:
        """Where a sweep's artifacts go."""
        return self.artifacts / sweep

    def sweep(self, name: str) -> SweepPaths:
        """The folder of the sweep called `name`, there or not."""
        return SweepPaths(self.folder / name)

    def sweeps(self) -> list[SweepPaths]:
        """Every sweep, by name."""
        return [SweepPaths(file.parent) for file in sorted(self.folder.glob("*/plan.json"))]
