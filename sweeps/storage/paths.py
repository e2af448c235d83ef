"""The paths of all files and folders. No other module joins file names to paths.

runs/
  mlflow.db  artifacts/  store/          MLflow's database and artifacts; who may write to them
  store/slurm-<user>/                    answers of SLURM, and when it was asked
    queue.json  clusters.json  queries.json  clock  lock/
    partitions-<cluster>.txt  user-<cluster>.txt
  store/server-<host>-<port>.log         what the server of `sweeps ui` printed
  <sweep>/
    sweep.json  experiment.toml          the sweep's identity; the last experiment file
    plan.json  mlflow.json               the plan that workers follow; what MLflow has
    study.jsonl  locks/                  the study and the sweep's locks
    stop.json  exhausted.json  retried.json
    notified-ended.json  notify.log      which event a person was told of; what the command said
    importances.json                     which hyperparameters mattered, for its findings
    report.html                          what the sweep shows, for people
    jobs/<token>/                        one folder per job
    promotion/                           see promotion_paths.py
    trials/0007-1a2b3c4d/                one folder per trial
      config.json  config.toml  result.json  settled  mlflow.json
      attempts/<n>/                      one folder per claim on the trial
        claim.json  continued.json  loaded  training  released  heartbeat  metrics.jsonl
        checkpoints/  figure.png  preview.png  traceback.txt  failure.json
    reruns/0007-1a2b3c4d-seed-5/         a trial that is trained again, in the form of a trial
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.filesystem.process import hostname

_DRAFT = re.compile(r"\..+\.([0-9a-f]{12}|(draft-)?\d+)|\.draft-\d+")
"""Names of unfinished files and folders, which are renamed when they are complete."""


class _HasFolder(Protocol):
    @property
    def folder(self) -> Path: ...


class PathIn:
    """A file or folder with a fixed name in the owner's folder: `owner.name` is its path."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, owner: _HasFolder, kind: type) -> Path:
        return owner.folder.joinpath(*self._parts)


@dataclass(frozen=True)
class AttemptPaths:
    """The folder of one attempt at a trial; its owner writes there, and the owner's supervisor."""

    folder: Path

    claim = PathIn("claim.json")  # who claimed the trial, and when; makes the attempt exist
    continued = PathIn("continued.json")  # the epoch of earlier attempts that it continues from
    loaded = PathIn("loaded")  # for people: exists once the code of the trainer is loaded
    training = PathIn("training")  # for people: exists once the first epoch may begin
    released = PathIn("released")  # exists once the owner has released the unfinished trial
    heartbeat = PathIn("heartbeat")  # a number that grows while the owner is alive
    metrics = PathIn("metrics.jsonl")  # one row per epoch
    checkpoints = PathIn("checkpoints")  # the trainer's folder
    last_checkpoint = PathIn("checkpoints", "last.pt")  # what the next attempt continues from
    best_checkpoint = PathIn("checkpoints", "best.pt")  # the best epoch's model
    traceback = PathIn("traceback.txt")  # of the exception that the trainer raised
    failure = PathIn("failure.json")  # a failure that did not end the trial
    figure = PathIn("figure.png")  # results of the best model
    preview = PathIn("preview.png")  # a small picture of them, if the trainer makes one

    @property
    def number(self) -> int:
        """The number of the attempt, from 1; the highest one has the claim."""
        return int(self.folder.name)


@dataclass(frozen=True)
class TrialPaths:
    """The folder of one trial, named by its number and its signature: `0007-1a2b3c4d`."""

    folder: Path

    config = PathIn("config.json")  # the specification of the trial
    config_toml = PathIn("config.toml")  # its configuration alone, for the trainer's own command
    result = PathIn("result.json")  # how the trial ended; exists once it has
    settled = PathIn("settled")  # exists once the study has the result
    mlflow = PathIn("mlflow.json")  # what MLflow has of this trial

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
        """Return the folder of attempt `number`, which need not exist."""
        return AttemptPaths(self.folder / "attempts" / str(number))

    def attempts(self) -> list[AttemptPaths]:
        """Return every attempt, in order."""
        found: list[AttemptPaths] = []
        while (attempt := self.attempt(len(found) + 1)).claim.exists():
            found.append(attempt)
        return found


@dataclass(frozen=True)
class JobPaths:
    """The folder of one job, named by its token: its name before the scheduler gives it an id."""

    folder: Path

    submitted = PathIn("submitted.json")  # the job's record, written at its submission
    started = PathIn("started.json")  # the same, written by the job; touched while it runs
    ended = PathIn("ended")  # exists once its work is done
    final_state = PathIn("final_state.json")  # from SLURM's accounting, after it left the queue
    requeue = PathIn("requeue")  # the job's script shall put the job back into the queue
    bad_node = PathIn("bad_node.json")  # a node that lacks what the job was promised, and why
    fewer_cores = PathIn("fewer_cores.json")  # the cores that the job has, if fewer than requested
    publisher_log = PathIn("publisher.log")  # the output of the job's publisher

    @property
    def token(self) -> str:
        """The job's name before the scheduler gave it an id."""
        return self.folder.name

    def worker_log(self, number: int) -> Path:
        """Return the log of worker `number` of the job."""
        return self.folder / f"worker-{number}.log"

    def worker_logs(self) -> list[Path]:
        """Return the logs of the job's workers that exist."""
        return sorted(self.folder.glob("worker-*.log"))


@dataclass(frozen=True)
class SweepPaths:
    """The folder of one sweep: all that its workers share."""

    folder: Path

    identity = PathIn("sweep.json")  # what may not change while the sweep exists
    experiment = PathIn("experiment.toml")  # a copy of the last experiment file
    plan = PathIn("plan.json")  # what workers follow; may change from one run to the next
    study = PathIn("study.jsonl")  # Optuna's journal
    stop = PathIn("stop.json")  # exists while the sweep is stopped; contains the reason
    exhausted = PathIn("exhausted.json")  # exists while nothing more can be tried; with reason
    retried = PathIn("retried.json")  # the number up to which failed trials are tried again
    mlflow = PathIn("mlflow.json")  # what MLflow has of the sweep as a whole
    report = PathIn("report.html")  # what the sweep shows, for people; made again at any time
    importances = PathIn("importances.json")  # which hyperparameters mattered, once it is over
    notify_log = PathIn("notify.log")  # the output of the notify command, and how it ended
    promotion = PathIn("promotion")  # records of candidates
    trials_folder = PathIn("trials")  # the folder of all trials
    submission_log = PathIn("jobs", "submission.log")  # output of submissions to this host
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
        """The latest answers of SLURM, for all sweeps in the runs folder."""
        return self.runs.slurm

    @property
    def confirmation(self) -> "SweepPaths":
        """The sweep that trains this one's best trials again; it need not exist."""
        return SweepPaths(self.folder.with_name(self.name + CONFIRMATION_SUFFIX))

    def lock(self, name: str) -> Path:
        """Return the folder of the lock called `name`."""
        return self.folder / "locks" / name

    def notified(self, event: str) -> Path:
        """Return the file that exists once the notify command was run for this event."""
        return self.folder / f"notified-{event}.json"

    def notifications(self) -> list[Path]:
        """Return the files of the events for which the notify command was run."""
        return sorted(self.folder.glob("notified-*.json"))

    def job(self, token: str) -> JobPaths:
        """Return the folder of the job called `token`, which need not exist."""
        return JobPaths(self.folder / "jobs" / token)

    def jobs(self) -> list[JobPaths]:
        """Return every job that was submitted or that started, oldest first."""
        found = {file.parent for file in self.folder.glob("jobs/*/submitted.json")}
        found |= {file.parent for file in self.folder.glob("jobs/*/started.json")}
        return [JobPaths(folder) for folder in sorted(found)]

    def unrecorded_jobs(self) -> list[JobPaths]:
        """Return every job that has a folder, but no record of its submission or start."""
        recorded = {job.folder for job in self.jobs()} | {self.scheduler_logs}
        found = (folder for folder in self.folder.glob("jobs/*/") if folder not in recorded)
        return [JobPaths(folder) for folder in sorted(found)]

    def trial(self, number: int, signature: str) -> TrialPaths:
        """Return the folder of a trial, which need not exist."""
        return TrialPaths(self.trials_folder / f"{number:04d}-{signature}")

    def rerun(self, trial: str, seed: int) -> TrialPaths:
        """Return the folder of a trial that is trained again; it need not exist."""
        return TrialPaths(self.folder / "reruns" / f"{trial}-seed-{seed}")

    def draft_trial(self, number: int) -> TrialPaths:
        """Return the folder in which a trial is prepared before it gets its name."""
        return TrialPaths(self.trials_folder / f".draft-{number:04d}")

    def trials(self) -> list[TrialPaths]:
        """Return every trial, in the order of their numbers.

        A folder without a configuration is not a trial: a worker still wrote into it after the
        trial's folder had been removed.
        """
        found = (TrialPaths(path) for path in self.trials_folder.glob("[0-9]*-*"))
        return sorted((t for t in found if t.config.exists()), key=lambda trial: trial.number)

    def drafts(self) -> list[Path]:
        """Return unfinished files and folders: of running writers, or of killed ones."""
        found = []
        for folder, folders, names in os.walk(self.folder):  # files may disappear meanwhile
            found += [Path(folder) / name for name in folders + names if _DRAFT.fullmatch(name)]
        return sorted(found)


@dataclass(frozen=True)
class DoctorPaths:
    """The folder of one run of `sweeps doctor`, which checks the site."""

    folder: Path

    findings = PathIn("findings.json")  # what the job found
    probe = PathIn("probe")  # a file that is replaced, to check that this works
    lock = PathIn("locks", "doctor")  # the folder of a lock that is tested

    @property
    def sweep(self) -> SweepPaths:
        """The same folder as that of a sweep without trials: for its job's logs."""
        return SweepPaths(self.folder)

    def clock(self, host: str) -> Path:
        """Return a file whose time, set by the file server, is compared with a host's clock."""
        return self.folder / f"clock-{host}"


@dataclass(frozen=True)
class SlurmPaths:
    """Answers of SLURM to one user's sweeps, and when it was asked."""

    folder: Path

    queue = PathIn("queue.json")  # the last answer of squeue, of each cluster
    clusters = PathIn("clusters.json")  # the name of the cluster that each host asks
    queries = PathIn("queries.json")  # the times of the queries in the last minute
    clock = PathIn("clock")  # touched to read the file server's time
    lock = PathIn("lock")  # the folder of the lock on all these files

    def partitions(self, cluster: str) -> Path:
        """Return the file with scontrol's answer on a cluster's partitions."""
        return self._of_cluster("partitions", cluster)

    def user(self, cluster: str) -> Path:
        """Return the file with sacctmgr's answer about the user on a cluster."""
        return self._of_cluster("user", cluster)

    def _of_cluster(self, name: str, cluster: str) -> Path:
        return self.folder / f"{name}-{re.sub(r'[^A-Za-z0-9_.-]', '_', cluster)}.txt"


@dataclass(frozen=True)
class RunsPaths:
    """The runs folder: all sweeps, and MLflow's store."""

    folder: Path

    database = PathIn("mlflow.db")  # MLflow's
    database_drafts = PathIn("store", "drafts")  # the database while its tables are created
    artifacts = PathIn("artifacts")  # MLflow's
    lease = PathIn("store", "lease.json")  # which host may write to the database
    store_location = PathIn("store", "store_location.json")  # the store's path at the last write
    lock = PathIn("store", "lock")  # the folder of the publishers' lock
    test_reads = PathIn("store", "test-reads.jsonl")  # when test splits were read, and for what

    @property
    def slurm(self) -> SlurmPaths:
        """Answers of SLURM to this user; another user's queue has other jobs."""
        return SlurmPaths(self.folder / "store" / f"slurm-{os.getuid()}")

    def server_log(self, port: int) -> Path:
        """Return the file with what MLflow's server on this port of this host printed."""
        return self.folder / "store" / f"server-{hostname()}-{port}.log"

    def registry_lock(self, model: str) -> Path:
        """Return the folder of the lock on one registered model."""
        return self.folder / "store" / f"registry-{model}"

    def probe(self, name: str) -> Path:
        """Return a file that is created to check that files can be created here."""
        return self.folder / f".probe-{name}"

    def doctor(self, name: str) -> DoctorPaths:
        """Return the folder of one run of `sweeps doctor`."""
        return DoctorPaths(self.folder / f".doctor-{name}")

    def comparison(self, sweeps: Sequence[str]) -> Path:
        """Return the file of a report that compares these sweeps."""
        return self.folder / "comparisons" / f"{'+'.join(sweeps)}.html"

    def artifacts_of(self, sweep: str) -> Path:
        """Return the folder of a sweep's artifacts."""
        return self.artifacts / sweep

    def sweep(self, name: str) -> SweepPaths:
        """Return the folder of the sweep called `name`, which need not exist."""
        return SweepPaths(self.folder / name)

    def sweeps(self) -> list[SweepPaths]:
        """Return every sweep, ordered by name."""
        return [SweepPaths(file.parent) for file in sorted(self.folder.glob("*/plan.json"))]
