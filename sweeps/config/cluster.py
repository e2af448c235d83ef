"""A cluster: the TOML file that says where jobs run, how many, and with which resources."""

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sweeps.config.detect import Detect
from sweeps.config.names import refuse_credentials
from sweeps.config.toml import StrictModel, read_toml, validate
from sweeps.errors import InputError
from sweeps.text import did_you_mean

MIN_TIME_LIMIT_MINUTES = 2
FOLDER = Path("experiments/clusters")
MAIL_TYPES = (
    *("NONE", "BEGIN", "END", "FAIL", "REQUEUE", "ALL", "INVALID_DEPEND", "STAGE_OUT"),
    *("TIME_LIMIT", "TIME_LIMIT_90", "TIME_LIMIT_80", "TIME_LIMIT_50", "ARRAY_TASKS"),
)
"""The values of `sbatch --mail-type` (sbatch(1))."""


class Cluster(StrictModel):
    """Where and how jobs run."""

    scheduler: Literal["local", "slurm"] = Field(
        "local",
        description="What runs the jobs: `slurm`, or `local` for processes on this host.",
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Worker processes per job; each runs one trial at a time. 0: one if the job "
        "has a GPU, otherwise one per core, but at most 8 and at most one per 2 GiB of this "
        "host's memory.",
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads per worker. 0: the job's cores divided by its workers, at least "
        "1. A trial keeps its number of threads wherever it continues.",
    )
    jobs: int = Field(
        1,
        ge=1,
        description="Jobs that run or wait in the queue at any time, while trials are left. "
        "Ignored if `trials_per_job` is set on SLURM.",
    )
    max_running_jobs: int = Field(
        1, ge=1, description="Jobs that may run at the same time; the others wait in the queue."
    )
    trials_per_job: int = Field(
        0,
        ge=0,
        description="Trials after which each worker of a job ends. As many jobs are then queued "
        "as the remaining trials need. 0: workers run trials until the time limit.",
    )
    time_limit: str = Field(
        "7-00:00:00",
        description="The time limit of a job, at least two minutes, as in `sbatch --time`: "
        "minutes, `HH:MM:SS` or `D-HH:MM:SS`. The default is seven days.",
    )
    claim_seconds: float = Field(
        60.0,
        ge=1,
        description="Seconds without a heartbeat after which another worker may take over a "
        "worker's trial. Only needed if the process cannot be checked directly, on another host.",
    )
    hang_seconds: float = Field(
        0.0,
        ge=0,
        description="Seconds without a finished epoch after which a worker is killed and "
        "replaced. 0: ten times the longest epoch of the sweep so far, at least half an hour; "
        "six hours before any epoch has finished.",
    )
    tracking: str | None = Field(
        None,
        description="The tracking URI of MLflow, without user name and password. By default, an "
        "SQLite database in the runs folder.",
    )
    gpus: int = Field(
        0,
        ge=0,
        le=1,
        description="GPUs that each job gets: 0 or 1. On SLURM, request it with `gres`. By "
        "default jobs run on CPUs.",
    )
    partition: str | None = Field(
        None, description="`sbatch --partition`. By default SLURM's default partition."
    )
    account: str | None = Field(
        None, description="`sbatch --account`. By default your default account."
    )
    qos: str | None = Field(
        None, description="`sbatch --qos`, the quality of service. By default the account's."
    )
    gres: str | None = Field(
        None, description="`sbatch --gres`, such as `gpu:1`. By default no GPU is requested."
    )
    constraint: str | None = Field(
        None,
        description="`sbatch --constraint`: features that a node must have. By default any node.",
    )
    exclude: str | None = Field(
        None, description="`sbatch --exclude`: nodes not to use. By default none."
    )
    cpus: int = Field(1, ge=1, description="CPU cores per job on SLURM (`sbatch --cpus-per-task`).")
    mail_type: str | None = Field(
        None,
        description="`sbatch --mail-type`: of which events of its jobs SLURM sends mail, such as "
        "`END,FAIL`. By default none.",
    )
    mail_user: str | None = Field(
        None, description="`sbatch --mail-user`: who gets the mail. By default you."
    )
    notify: list[str] = Field(
        default_factory=list,
        description="A command, as a list of its words, that is run once when the sweep ends, is "
        "stopped, or waits for a person. SWEEP_NAME, SWEEP_EVENT, SWEEP_MESSAGE and SWEEP_FOLDER "
        "in its environment say what happened. By default none.",
    )
    python: str | None = Field(
        None,
        description="The shell command that starts Python in a SLURM job, such as "
        "`apptainer exec --nv /shared/image.sif python3`. By default the Python that you use now.",
    )
    scratch: str = Field(
        "$TMPDIR",
        description="A folder on a disk of the node of a SLURM job, where a trainer may keep "
        "copies of its data until the job ends. Variables are replaced in the job. Empty: no "
        "copies. There are none either if a variable is not set.",
    )
    setup: list[str] = Field(
        default_factory=list,
        description="Lines of shell that a SLURM job runs first, for example to activate an "
        "environment. By default none.",
    )
    detect: Detect | None = Field(
        None,
        description="The table `[detect]`: when this cluster is used without `--cluster`. By "
        "default never.",
    )

    @field_validator("time_limit")
    @classmethod
    def _check_time_limit(cls, text: str) -> str:
        if parse_minutes(text) < MIN_TIME_LIMIT_MINUTES:
            raise ValueError(f"{text!r} is too short for a job; write at least two minutes")
        return text

    @field_validator("tracking")
    @classmethod
    def _check_tracking(cls, uri: str | None) -> str | None:
        refuse_credentials(uri)
        return uri

    @field_validator("partition", "account", "qos", "gres", "constraint", "exclude", "mail_user")
    @classmethod
    def _check_one_word(cls, text: str | None) -> str | None:
        # Each becomes one line `#SBATCH --partition=…` of a shell script.
        if text is not None and (not text or any(c.isspace() or not c.isprintable() for c in text)):
            raise ValueError(f"{text!r} is not one word; remove spaces, or leave the key out")
        return text

    @field_validator("python")
    @classmethod
    def _check_python(cls, command: str | None) -> str | None:
        if command is not None and (not command.strip() or not command.isprintable()):
            raise ValueError("write one line: the command that starts Python, or leave the key out")
        return command

    @field_validator("scratch")
    @classmethod
    def _check_scratch(cls, folder: str) -> str:
        if folder and (folder[0] not in "/$" or not folder.isprintable()):
            raise ValueError(
                f"{folder!r} is no absolute path; begin it with / or a variable such as $TMPDIR"
            )
        return folder

    @field_validator("mail_type")
    @classmethod
    def _check_mail_type(cls, text: str | None) -> str | None:
        unknown = [] if text is None else [w for w in text.split(",") if w not in MAIL_TYPES]
        if unknown:
            valid = ", ".join(MAIL_TYPES)
            raise ValueError(f"{unknown[0]!r} is no mail type of SLURM; valid are {valid}")
        return text

    @field_validator("notify")
    @classmethod
    def _check_notify(cls, command: list[str]) -> list[str]:
        if command and not command[0]:
            raise ValueError("its first word is empty; write a program, then its arguments")
        if any("\0" in word for word in command):
            raise ValueError("a word has a NUL character; remove it")
        return command

    @model_validator(mode="after")
    def _check_mail_is_of_slurm(self) -> "Cluster":
        if self.scheduler == "local" and (self.mail_type or self.mail_user):
            raise ValueError(
                'mail_type and mail_user need scheduler = "slurm": SLURM sends the mail; '
                "remove them, or use notify"
            )
        return self

    @field_validator("setup")
    @classmethod
    def _check_setup(cls, lines: list[str]) -> list[str]:
        if any("\n" in line for line in lines):
            raise ValueError("an entry has several lines; write each line as an entry of its own")
        options = [line for line in lines if line.lstrip().startswith("#SBATCH")]
        if options:
            advice = "write partition, account, time_limit and the like as keys of this file"
            raise ValueError(
                f"{options[0]!r} is not a line of shell; {advice}; memory is never requested"
            )
        return lines


def read_cluster(name: str, folder: Path = FOLDER) -> Cluster:
    """Read the cluster called `name`.

    Raises:
        InputError: there is no cluster of that name, or its file is not valid.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        found = (file.stem for file in folder.glob("*.toml"))
        raise InputError(f"no cluster {name!r} in {folder}{did_you_mean(name, found)}")
    tables = read_toml(path)
    for key in ("mem", "memory", "mem_gb", "mem_per_cpu", "mem_per_gpu"):
        if key in tables:
            why = "nodes of some sites report 1 MB, and a job that requests more waits for ever"
            raise InputError(f"{path}: remove {key!r}: memory is never requested ({why})")
    return validate(tables, Cluster, str(path))


def parse_minutes(text: str) -> int:
    """Return a time limit in SLURM's format in minutes, rounded up.

    Raises:
        ValueError: the text is not in SLURM's format.
    """
    return -(-parse_seconds(text) // 60)


def parse_seconds(text: str) -> int:
    """Return a time in SLURM's format in seconds.

    SLURM's formats: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
    days-hours:minutes, days-hours:minutes:seconds (sbatch(1), --time).

    Raises:
        ValueError: the text has none of these formats.
    """
    if not re.fullmatch(r"\d+(:\d\d?){0,2}|\d+-\d+(:\d\d?){0,2}", text):
        raise ValueError(f"{text!r} is not a valid time; write minutes, HH:MM:SS or D-HH:MM:SS")
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days or len(parts) == 3:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, minutes, seconds = 0, parts[0], parts[1] if len(parts) == 2 else 0
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def workers_and_threads(cluster: Cluster) -> tuple[int, int]:
    """Return how many workers a job has, and how many threads each worker has."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cluster.scheduler == "slurm":
        cores = cluster.cpus
    on_gpu = cluster.gpus > 0
    workers = cluster.workers or (1 if on_gpu else max(1, min(cores, _workers_in_memory(), 8)))
    return workers, cluster.threads or max(1, cores // workers)


def _workers_in_memory() -> int:
    """Return how many workers of 2 GiB fit into this host's memory."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**31)
    except (ValueError, OSError):
        return 1
