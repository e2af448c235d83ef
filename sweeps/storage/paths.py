"""Where everything lies. No other module joins the names of files.

runs/
  mlflow.db  artifacts/  store/          what MLflow is shown
  store/slurm-<user>/                    what SLURM said, and when it was asked
    queue.json  partitions.txt  user.txt  queries.json  clock  lock/
  <sweep>/
    sweep.json  experiment.toml          what the sweep is; the experiment as last given
    plan.json  mlflow.json               what workers go by; what MLflow was given
    study.jsonl  locks/                  the study and the locks on it
    stop.json  exhausted.json  retried.json
    jobs/<token>/                        one folder a job
    promotion/                           see sweeps/promotion/paths.py
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

CONFIRMATION_SUFFIX = "-confirm"
"""What the name of a sweep ends in that trains another's best trials again."""
_DRAFT = re.compile(r"\..+\.([0-9a-f]{12}|(draft-)?\d+)|\.draft-\d+")
"""Names under which files and folders are filled before they take their own."""


@dataclass(frozen=True)
class AttemptPaths:
    """The folder of one claim on a trial; its owner writes there, or who saw that it died."""

    folder: Path

    @property
    def number(self) -> int:
        """Counted from 1; the highest number has the trial."""
        return int(self.folder.name)

    @property
    def claim(self) -> Path:
        """Who claimed the trial, and when. The attempt exists once this does."""
        return self.folder / "claim.json"

    @property
    def continued(self) -> Path:
        """Up to which epoch this attempt carries on what earlier ones did."""
        return self.folder / "continued.json"

    @property
    def released(self) -> Path:
        """There once the owner gave the trial back, unfinished."""
        return self.folder / "released"

    @property
    def heartbeat(self) -> Path:
        """A number that grows while the owner lives."""
        return self.folder / "heartbeat"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The trainer's folder."""
        return self.folder / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """What the next attempt carries on from."""
        return self.checkpoints / "last.pt"

    @property
    def best_checkpoint(self) -> Path:
        """The best epoch's model."""
        return self.checkpoints / "best.pt"

    @property
    def traceback(self) -> Path:
        """The traceback, where the attempt ended by a bug."""
        return self.folder / "traceback.txt"

    @property
    def failure(self) -> Path:
        """What the attempt met that did not end the trial."""
        return self.folder / "failure.json"

    @property
    def figure(self) -> Path:
        """What the best model does, to look at."""
        return self.folder / "figure.png"


@dataclass(frozen=True)
class TrialPaths:
    """The folder of one trial."""

    folder: Path

    @property
    def name(self) -> str:
        """Number and signature: `0007-1a2b3c4d`."""
        return self.folder.name

    @property
    def number(self) -> int:
        """The trial's number in the study."""
        return int(self.name.partition("-")[0])

    @property
    def signature(self) -> str:
        """The signature of the trial's configuration."""
        return self.name.partition("-")[2]

    @property
    def config(self) -> Path:
        """All that was resolved for this trial."""
        return self.folder / "config.json"

    @property
    def result(self) -> Path:
        """How the trial ended; there once it has."""
        return self.folder / "result.json"

    @property
    def settled(self) -> Path:
        """There once the study was told of the result."""
        return self.folder / "settled"

    @property
    def mlflow(self) -> Path:
        """What of this trial MLflow has been given."""
        return self.folder / "mlflow.json"

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
    """The folder of one job."""

    folder: Path

    @property
    def token(self) -> str:
        """What the job was called before the scheduler gave it a number."""
        return self.folder.name

    @property
    def submitted(self) -> Path:
        """The scheduler's number for it."""
        return self.folder / "submitted.json"

    @property
    def started(self) -> Path:
        """The process that runs it."""
        return self.folder / "started.json"

    @property
    def ended(self) -> Path:
        """There once its work was done."""
        return self.folder / "ended"

    @property
    def final_state(self) -> Path:
        """What accounting said became of it, where it vanished from the queue."""
        return self.folder / "final_state.json"

    @property
    def bad_node(self) -> Path:
        """There where the job found its node without what it needs; names node and reason."""
        return self.folder / "bad_node.json"

    def worker_log(self, number: int) -> Path:
        """What worker `number` of the job printed."""
        return self.folder / f"worker-{number}.log"

    @property
    def publisher_log(self) -> Path:
        """What the job's publisher printed."""
        return self.folder / "publisher.log"


@dataclass(frozen=True)
class SweepPaths:
    """The folder of one sweep: all that its workers share."""

    folder: Path

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @property
    def runs(self) -> Path:
        """The folder of all sweeps."""
        return self.folder.parent

    @property
    def confirmation(self) -> "SweepPaths":
        """The sweep that trains this one's best trials again, there or not."""
        return SweepPaths(self.folder.with_name(self.name + CONFIRMATION_SUFFIX))

    @property
    def promotion(self) -> Path:
        """What was found of candidates."""
        return self.folder / "promotion"

    @property
    def identity(self) -> Path:
        """What cannot change under the sweep."""
        return self.folder / "sweep.json"

    @property
    def experiment(self) -> Path:
        """The experiment as last given."""
        return self.folder / "experiment.toml"

    @property
    def plan(self) -> Path:
        """What workers need to know and may change from one run to the next."""
        return self.folder / "plan.json"

    @property
    def study(self) -> Path:
        """Optuna's journal."""
        return self.folder / "study.jsonl"

    @property
    def stop(self) -> Path:
        """There while the sweep is to stand still; says why."""
        return self.folder / "stop.json"

    @property
    def exhausted(self) -> Path:
        """There once the space has nothing new to try; says what was found."""
        return self.folder / "exhausted.json"

    @property
    def retried(self) -> Path:
        """Up to which number failed trials are forgiven and tried again."""
        return self.folder / "retried.json"

    @property
    def mlflow(self) -> Path:
        """What of the sweep as a whole MLflow has been given."""
        return self.folder / "mlflow.json"

    @property
    def slurm(self) -> "SlurmPaths":
        """What SLURM was asked lately, for this sweep and those beside it."""
        return RunsPaths(self.runs).slurm

    def lock(self, name: str) -> Path:
        """The folder of the lock called `name`."""
        return self.folder / "locks" / name

    @property
    def submission_log(self) -> Path:
        """What submissions to this machine complained of."""
        return self.folder / "jobs" / "submission.log"

    @property
    def scheduler_logs(self) -> Path:
        """Submitit's folder."""
        return self.folder / "jobs" / "submitit"

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

    @property
    def trials_folder(self) -> Path:
        """The folder of all trials."""
        return self.folder / "trials"

    def trial(self, number: int, signature: str) -> TrialPaths:
        """The folder of a trial, there or not."""
        return TrialPaths(self.trials_folder / f"{number:04d}-{signature}")

    def drafts(self) -> list[Path]:
        """Files and folders that a writer has not finished, or never will."""
        found = []
        for folder, folders, names in os.walk(self.folder):  # what goes meanwhile is no matter
            found += [Path(folder) / name for name in folders + names if _DRAFT.fullmatch(name)]
        return sorted(found)

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


@dataclass(frozen=True)
class DoctorPaths:
    """The folder of one examination of the site."""

    folder: Path

    @property
    def sweep(self) -> SweepPaths:
        """The folder as that of a sweep without trials: where its job's logs are."""
        return SweepPaths(self.folder)

    @property
    def findings(self) -> Path:
        """What the job saw."""
        return self.folder / "findings.json"

    @property
    def probe(self) -> Path:
        """A file that is replaced to see whether that works."""
        return self.folder / "probe"

    @property
    def lock(self) -> Path:
        """The folder of a lock that is tried."""
        return self.folder / "locks" / "doctor"

    def clock(self, host: str) -> Path:
        """A file whose time, from the file server, is compared with a host's."""
        return self.folder / f"clock-{host}"


@dataclass(frozen=True)
class SlurmPaths:
    """What SLURM said to one user's sweeps, and how often it was asked."""

    folder: Path

    @property
    def queue(self) -> Path:
        """What squeue answered last."""
        return self.folder / "queue.json"

    @property
    def partitions(self) -> Path:
        """What scontrol answered of them."""
        return self.folder / "partitions.txt"

    @property
    def user(self) -> Path:
        """What sacctmgr answered of whoever asked."""
        return self.folder / "user.txt"

    @property
    def queries(self) -> Path:
        """When it was asked in the last minute."""
        return self.folder / "queries.json"

    @property
    def clock(self) -> Path:
        """A file that is touched to learn the file server's time."""
        return self.folder / "clock"

    @property
    def lock(self) -> Path:
        """The folder of the lock on all these."""
        return self.folder / "lock"


@dataclass(frozen=True)
class RunsPaths:
    """The folder of all sweeps, and of the store that shows them."""

    folder: Path

    @property
    def database(self) -> Path:
        """MLflow's database."""
        return self.folder / "mlflow.db"

    @property
    def database_drafts(self) -> Path:
        """The folder of MLflow's database while its tables are being made."""
        return self.folder / "store" / "drafts"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.folder / "artifacts"

    @property
    def lease(self) -> Path:
        """Which host may write to the database."""
        return self.folder / "store" / "lease.json"

    @property
    def store_location(self) -> Path:
        """Where the store lay when it was last written to."""
        return self.folder / "store" / "store_location.json"

    @property
    def lock(self) -> Path:
        """The folder of the publishers' lock."""
        return self.folder / "store" / "lock"

    @property
    def test_reads(self) -> Path:
        """When test splits were read, and for what."""
        return self.folder / "store" / "test-reads.jsonl"

    @property
    def slurm(self) -> SlurmPaths:
        """What SLURM said to this user: another one's jobs are not in this one's queue."""
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
