"""Runs the cluster file's `notify` command, once each time that a sweep ends, stops or waits.

Whoever sees the event first runs the command: the last supervisor, `sweeps stop`, or a watcher. A
file that only one of them can create decides. It is made before the command is run, so a process
that dies in between leaves an event without its message, and never one with two.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from enum import StrEnum

from sweeps.config.cluster import Cluster
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.job_status import active_jobs
from sweeps.storage.sweep import Sweep, open_sweep, stop_reason
from sweeps.storage.sweep_totals import compute_totals
from sweeps.storage.trial_record import read_snapshot
from sweeps.text import one_line

COMMAND_SECONDS = 60.0
"""How long the command may take before it is killed."""


class Event(StrEnum):
    """What a person is told of a sweep."""

    ENDED = "ended"
    """Every planned trial has ended, or nothing more can be tried."""
    STOPPED = "stopped"
    """By a person, or by a worker: the disk is full, or trials fail again and again."""
    WAITING = "waiting"
    """No job runs or is pending, and trials are left: a person must run the sweep again."""


def check_notify(cluster: Cluster) -> str:
    """Return what is found of the `notify` command on this host.

    Raises:
        InputError: the command cannot be found or run.
    """
    if not cluster.notify:
        return "none is set in the cluster file"
    if (found := shutil.which(cluster.notify[0])) is None:
        advice = "write the path of a program, or a name on the PATH"
        raise InputError(f"notify: there is no program {cluster.notify[0]!r} here; {advice}")
    return found


def notify(sweep: Sweep) -> None:
    """Run the command if the sweep has ended, stopped or waits, and nobody has run it yet.

    Nothing that goes wrong here reaches the sweep: it gets a line in the sweep's `notify.log`.
    """
    with suppress(OSError, InputError):
        sweep = open_sweep(sweep.paths)  # a person may have given it another plan
        command = sweep.plan.cluster.notify
        if not command or (event := event_now(sweep)) is None:
            return
        content = _content(sweep, event)
        if atomic.create(sweep.paths.notified(event), json.dumps(content)):
            _run(sweep, command, content)


def event_now(sweep: Sweep) -> Event | None:
    """Return what a person should know of the sweep now; None while jobs continue it."""
    if sweep.is_over():
        return Event.ENDED
    if sweep.is_stopped():
        return Event.STOPPED
    try:
        return None if active_jobs(sweep.paths) else Event.WAITING
    except EnvironmentFailure:  # which jobs are left is not known
        return None


def _content(sweep: Sweep, event: Event) -> dict[str, str]:
    return {
        "SWEEP_NAME": sweep.paths.name,
        "SWEEP_EVENT": event.value,
        "SWEEP_MESSAGE": _message(sweep, event),
        "SWEEP_FOLDER": str(sweep.paths.folder),
    }


def _message(sweep: Sweep, event: Event) -> str:
    progress = sweep.progress()
    what = {
        Event.ENDED: "has ended",
        Event.STOPPED: f"was stopped ({stop_reason(sweep.paths)})",
        Event.WAITING: "waits to be run again: no job is left",
    }[event]
    ended = f"{progress.ended} of {progress.planned} trials have ended"
    return one_line(f"Sweep {sweep.paths.name} {what}; {ended}; {_best(sweep)}.")


def _best(sweep: Sweep) -> str:
    snapshots = [read_snapshot(trial) for trial in sweep.paths.trials()]
    totals = compute_totals(snapshots, sweep.experiment.objective)
    if totals.best is None or totals.value is None:
        return "no trial is complete"
    return f"best trial {totals.best.name}, {sweep.experiment.objective.metric} {totals.value:.4g}"


def _run(sweep: Sweep, command: list[str], content: dict[str, str]) -> None:
    """Run the command in a session of its own, so that all that it starts can be ended."""
    with sweep.paths.notify_log.open("ab") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | content,
                start_new_session=True,
            )
            outcome = _wait(process)
        except (OSError, ValueError) as error:
            outcome = f"it could not be run: {error}"
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {content['SWEEP_EVENT']}: {outcome}"
        log.write(f"{one_line(line)}\n".encode())


def _wait(process: "subprocess.Popen[bytes]") -> str:
    try:
        return f"the command ended with status {process.wait(COMMAND_SECONDS)}"
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"the command was killed after {COMMAND_SECONDS:.0f} s"
