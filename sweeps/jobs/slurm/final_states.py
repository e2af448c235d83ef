"""How jobs ended that left the queue without having recorded the end of their work."""

import json
from collections.abc import Mapping

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.jobs.slurm import queries
from sweeps.jobs.slurm.answers import QueueEntry, read_accounting
from sweeps.jobs.slurm.commands import SlurmUnavailableError
from sweeps.jobs.slurm.identity import ended, is_entry_of
from sweeps.jobs.slurm.queue import Queue
from sweeps.jobs.slurm.rate_limit import run_if_allowed
from sweeps.storage.job_record import JobRecord
from sweeps.storage.paths import JobPaths, SweepPaths

_NOT_ASKED = "how it ended will be known within a minute"
_NOT_RECORDED = "its fate is not recorded at this site"
_DESCRIPTIONS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it reached its time limit before it could requeue itself",
    "OUT_OF_MEMORY": "the node's memory was not enough; set fewer workers in the cluster file",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "a job of a higher priority pre-empted it",
    "FAILED": "it failed; see its log in jobs/submitit",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline passed",
    "COMPLETED": "it ended",
}


def describe_final_state(job: JobPaths) -> str:
    """Return how a job ended, by what is recorded, in words."""
    stored = atomic.read_json(job.final_state)
    return _NOT_ASKED if stored is None else _DESCRIPTIONS.get(stored["state"], _NOT_RECORDED)


def record_final_states(
    paths: SweepPaths, vanished: Mapping[JobPaths, JobRecord], queue: Queue
) -> None:
    """Record how jobs ended: from the queue's answer while SLURM knows them, else accounting's."""
    asked: dict[JobPaths, JobRecord] = {}
    for job, record in vanished.items():
        if job.final_state.exists():
            continue
        if (entry := ended(queue, paths, job, record)) is not None:
            atomic.write(job.final_state, json.dumps({"state": entry.state}))
        else:
            asked[job] = record
    if asked and (accounted := _accounted(paths, asked)) is not None:
        for job, record in asked.items():
            state = accounted.get(record.id)
            known = state is not None and is_entry_of(state, paths, job)
            content = {"state": state.state if state is not None and known else "NOT_RECORDED"}
            atomic.write(job.final_state, json.dumps(content))


def _accounted(
    paths: SweepPaths, asked: Mapping[JobPaths, JobRecord]
) -> dict[str, QueueEntry] | None:
    """Return the jobs of these numbers in SLURM's accounting; None if it cannot be asked now."""
    numbers = sorted({record.id for record in asked.values()})
    try:
        answer = run_if_allowed(paths.slurm, *queries.accounting(numbers))
    except SlurmUnavailableError:
        return None
    except EnvironmentFailure:  # a site without accounting
        return {}
    return None if answer is None else {job.id: job for job in read_accounting(answer)}
