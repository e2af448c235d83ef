"""Where a sweep's jobs are, in words: what runs, what waits and why, what is gone."""

import json
from collections.abc import Iterable, Iterator

from sweeps.errors import WorldError
from sweeps.filesystem import atomic as files
from sweeps.jobs.slurm.pending_reasons import in_words
from sweeps.jobs.slurm.queue import Entry, look
from sweeps.jobs.slurm.rate_limit import ask_if_free
from sweeps.jobs.status import jobs_alive, record_of
from sweeps.monitor.lines import duration
from sweeps.storage.paths import JobPaths, SweepPaths

_SHOWN = 3
"""How many numbers of jobs that wait alike are listed."""


def whereabouts(paths: SweepPaths) -> list[str]:
    """A line for each job that SLURM runs, each reason for waiting, and each end that was none.

    Raises:
        WorldError: SLURM does not answer.
    """
    jobs = {record_of(job).get("id", ""): job for job in paths.jobs() if not job.ended.exists()}
    queue = look(paths)
    entries = queue.entries
    ours = [entries[number] for number in jobs if number in entries]
    running = [_running(entry) for entry in ours if not entry.waits]
    if not queue.asked:
        unknown = f"jobs: {len(jobs)} sent; SLURM is asked within a minute where they are"
        return [unknown] if jobs else []
    return [*running, *_waiting(e for e in ours if e.waits), *_gone(paths, jobs), *_unfit(paths)]


def _running(entry: Entry) -> str:
    if entry.state != "RUNNING":
        return f"job {entry.id} is {entry.state.lower().replace('_', ' ')}"
    left = "" if entry.seconds_left is None else f" ({duration(entry.seconds_left)} left)"
    return f"job {entry.id} runs on {entry.node}{left}"


def _waiting(entries: Iterable[Entry]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for entry in entries:
        alike.setdefault(entry.reason, []).append(entry.id)
    for reason, numbers in alike.items():
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        shown = ", ".join(numbers[:_SHOWN]) + more
        verb = "job {} waits" if len(numbers) == 1 else "jobs {} wait"
        yield f"{verb.format(shown)}: {in_words(reason, ' '.join(numbers[:_SHOWN]))}"


def _gone(paths: SweepPaths, jobs: dict[str, JobPaths]) -> Iterator[str]:
    """Jobs that left the queue without having said that they ended."""
    alive = jobs_alive(paths)
    gone = {number: job for number, job in jobs.items() if job not in alive and number}
    unknown = [number for number, job in gone.items() if not job.fate.exists()]
    fates = _fates(paths, unknown) if unknown else {}
    for number, state in fates.items():
        files.write(gone[number].fate, json.dumps({"state": state}))
    for number, job in gone.items():
        known = files.read_json(job.fate) or {"state": "UNKNOWN"}
        yield f"job {number} is gone: {_FATES.get(known['state'], 'ended')}"


def _fates(paths: SweepPaths, numbers: list[str]) -> dict[str, str]:
    """What accounting says became of jobs; nothing where it was not to be asked just now."""
    which = f"--jobs={','.join(numbers)}"
    try:
        answer = ask_if_free(paths.slurm, "sacct", "-nPX", which, "--format=JobID,State")
    except WorldError:  # a site that keeps no accounts
        answer = ""
    if answer is None:
        return {}
    lines = [line.split("|") for line in answer.splitlines() if "|" in line]
    known = {number: state.split()[0] for number, state in lines if state}
    return {number: known.get(number, "UNKNOWN") for number in numbers}


def _unfit(paths: SweepPaths) -> Iterator[str]:
    for job in paths.jobs():
        if (found := files.read_json(job.unfit)) is not None:
            number = record_of(job).get("id", "")
            yield f"job {number} failed on {found['node']}: {found['reason']}; it is left out now"


_FATES = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "its time was up before it could go back into the queue",
    "OUT_OF_MEMORY": "the node's memory did not suffice: fewer workers may",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "a job of a higher priority took its place",
    "FAILED": "it failed; the log in jobs/submitit says why",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "its deadline passed",
    "COMPLETED": "it ended",
}
