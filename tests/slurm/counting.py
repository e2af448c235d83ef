"""Counts SLURM commands: wrappers, first on the PATH, record each command."""

from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "scontrol", "sacct", "sacctmgr", "scancel", "srun", "sinfo")
WRAPPER = """#!/bin/bash
printf '%s\\t%s\\t%s\\t%s\\n' "$(date +%s.%N)" "${{SWEEPS_HOST:-$(hostname)}}" {name} "$*" >> {log}
exec /usr/bin/{name} "$@"
"""


@dataclass(frozen=True)
class Call:
    """One call of a SLURM command.

    Attributes:
        time: when it was called, in seconds since 1970.
        host: the host on which it was called.
        name: the command's name.
        arguments: its arguments, in one line.
    """

    time: float
    host: str
    name: str
    arguments: str

    @property
    def submits(self) -> bool:
        """Whether it brings jobs into the queue, by a submission or a requeue."""
        requeues = self.name == "scontrol" and self.arguments.startswith("requeue")
        return requeues or (self.name == "sbatch" and "--test-only" not in self.arguments)

    @property
    def starts_steps(self) -> bool:
        """Whether it is the srun of a batch script, which starts the job's task."""
        return self.name == "srun"


def put_wrappers(folder: Path, log: Path) -> None:
    """Make a folder of wrappers that record their calls in `log`; put it first on the PATH."""
    folder.mkdir(parents=True)
    for name in COMMANDS:
        (folder / name).write_text(WRAPPER.format(name=name, log=log))
        (folder / name).chmod(0o755)
    log.touch()


def calls_in(log: Path) -> list[Call]:
    """Return the recorded calls, in the order of time."""
    lines = (line.split("\t") for line in log.read_text().splitlines())
    return sorted(
        (Call(float(time), host, name, rest) for time, host, name, rest in lines),
        key=lambda call: call.time,
    )


def most_in_a_minute(calls: list[Call]) -> int:
    """Return the largest number of calls in any window of 60 s."""
    times = [call.time for call in calls]
    return max((sum(begin <= t < begin + 60 for t in times) for begin in times), default=0)
