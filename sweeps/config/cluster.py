"""A cluster: the TOML file that says where the work is sent, and how much of it at once."""

import os
import re
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from sweeps.config.names import refuse_credentials
from sweeps.config.toml import StrictModel, read_toml, validate
from sweeps.errors import InputError
from sweeps.text import did_you_mean

MIN_TIME_LIMIT_MINUTES = 2
FOLDER = Path("experiments/clusters")


class Detect(StrictModel):
    """How a cluster is recognised, so that `make sweep` needs no arguments there."""

    experiment: str
    """Its name in `experiments/`: what is run there if nobody says otherwise."""
    command: str | None = None
    """A program that is on the PATH there."""
    folder: Path | None = None
    """A folder that exists there."""

    def matches(self) -> bool:
        """Whether this machine is recognised; without conditions, any is."""
        has_command = self.command is None or shutil.which(self.command) is not None
        return has_command and (self.folder is None or self.folder.is_dir())

    @property
    def conditions(self) -> int:
        """How many conditions it has: of several that match, the one with most is meant."""
        return (self.command is not None) + (self.folder is not None)


class Cluster(StrictModel):
    """Where jobs run. Times are as SLURM writes them: minutes, `HH:MM:SS` or `D-HH:MM:SS`."""

    scheduler: Literal["local", "slurm"] = "local"
    workers: int = Field(0, ge=0, le=64, description="a job; 0: as many as the machine bears")
    threads: int = Field(0, ge=0, description="a worker; 0: the job's cores shared out")
    jobs: int = Field(1, ge=1, description="queued; with trials_per_job, as many as needed")
    max_running_jobs: int = Field(1, ge=1, description="jobs that may run side by side")
    trials_per_job: int = Field(0, ge=0, description="a worker; 0: until the time is up")
    time_limit: str = "7-00:00:00"
    claim_seconds: float = Field(
        60.0, ge=1, description="silence after which a worker is believed dead"
    )
    hang_seconds: float = Field(
        0.0,
        ge=0,
        description="without an epoch, after which a worker is killed; 0: what the sweep's own "
        "epochs tell, half an hour at least",
    )
    tracking: str | None = Field(None, description="MLflow's URI; none: a database among the runs")
    gpus: int = Field(0, ge=0, le=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gres: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    cpus: int = Field(1, ge=1)
    setup: list[str] = Field(default_factory=list)
    detect: Detect | None = None

    @field_validator("time_limit")
    @classmethod
    def _check_time_limit(cls, text: str) -> str:
        if parse_minutes(text) < MIN_TIME_LIMIT_MINUTES:
            raise ValueError(f"{text!r} is too short for a job to do anything in; give two minutes")
        return text

    @field_validator("tracking")
    @classmethod
    def _check_tracking(cls, uri: str | None) -> str | None:
        refuse_credentials(uri)
        return uri

    @field_validator("partition", "account", "qos", "gres", "constraint", "exclude")
    @classmethod
    def _check_one_word(cls, text: str | None) -> str | None:
        # Each becomes a line `#SBATCH --partition=…` of a shell script.
        if text is not None and (not text or any(c.isspace() or not c.isprintable() for c in text)):
            raise ValueError(f"{text!r} is not one word")
        return text

    @field_validator("setup")
    @classmethod
    def _check_setup(cls, lines: list[str]) -> list[str]:
        if any("\n" in line for line in lines):
            raise ValueError("a text of several lines: give each line of shell by itself")
        hidden = [line for line in lines if line.lstrip().startswith("#SBATCH")]
        if hidden:
            mend = "give partition, account, time_limit and the like as keys of this file"
            raise ValueError(
                f"{hidden[0]!r} is no line of shell: {mend}; memory is never asked for"
            )
        return lines


def read_cluster(name: str, folder: Path = FOLDER) -> Cluster:
    """The cluster called `name`.

    Raises:
        InputError: there is none of that name, or its file is wrong.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = (file.stem for file in folder.glob("*.toml"))
        raise InputError(f"no cluster {name!r} in {folder}{did_you_mean(name, known)}")
    tables = read_toml(path)
    for key in ("mem", "memory", "mem_gb", "mem_per_cpu", "mem_per_gpu"):
        if key in tables:
            why = "some sites' nodes report 1 MB, and a job that asks for more waits for ever"
            raise InputError(f"{path}: leave {key!r} out: memory is never asked for ({why})")
    return validate(tables, Cluster, str(path))


def detect_cluster(folder: Path = FOLDER) -> tuple[str, str]:
    """The name of the cluster that is recognised here, and of its default experiment.

    Raises:
        InputError: no file recognises this machine, or one cannot be read.
    """
    found = {file.stem: read_cluster(file.stem, folder).detect for file in folder.glob("*.toml")}
    matching = {name: detect for name, detect in found.items() if detect and detect.matches()}
    if not matching:
        raise InputError(
            f"no cluster file in {folder} recognises this machine; run this in the project's "
            "folder, or give an experiment and --cluster"
        )
    name = max(sorted(matching), key=lambda name: matching[name].conditions)
    return name, matching[name].experiment


def parse_minutes(text: str) -> int:
    """A time limit as SLURM writes it, in minutes, begun ones counted.

    Raises:
        ValueError: it is no time.
    """
    return -(-parse_seconds(text) // 60)


def parse_seconds(text: str) -> int:
    """A time as SLURM writes it, in seconds.

    SLURM's forms: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
    days-hours:minutes, days-hours:minutes:seconds (sbatch(1), --time).

    Raises:
        ValueError: it is none of them.
    """
    if not re.fullmatch(r"\d+(:\d\d?){0,2}|\d+-\d+(:\d\d?){0,2}", text):
        raise ValueError(f"{text!r} is no time: write minutes, HH:MM:SS or D-HH:MM:SS")
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days or len(parts) == 3:
        hours, whole, rest = (*parts, 0, 0)[:3]
    else:
        hours, whole, rest = 0, parts[0], parts[1] if len(parts) == 2 else 0
    return int(days or 0) * 86400 + hours * 3600 + whole * 60 + rest


def workers_and_threads(cluster: Cluster) -> tuple[int, int]:
    """How many workers a job has, and how many threads each of them."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cluster.scheduler == "slurm":
        cores = cluster.cpus
    on_gpu = cluster.gpus > 0
    workers = cluster.workers or (1 if on_gpu else max(1, min(cores, _workers_in_memory(), 8)))
    return workers, cluster.threads or max(1, cores // workers)


def _workers_in_memory() -> int:
    """How many workers of 2 GiB this machine's memory holds."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**31)
    except (ValueError, OSError):
        return 1
