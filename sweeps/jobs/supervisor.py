"""The supervisor: the one task of a job. It keeps the job's workers alive until they are done.

Workers are processes of their own, so that whatever ends one (a bug in a driver, the system's
memory) ends no other. A worker that leaves by itself has found nothing left to do; any other end
is followed by a new worker, which continues the trial that the dead one had.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sweeps.config.cluster import crew, margin_seconds
from sweeps.errors import WorldError
from sweeps.filesystem import atomic as files
from sweeps.filesystem.process import Process, this_process
from sweeps.jobs.deaths import note_death
from sweeps.jobs.slots import Place, Places, say, start
from sweeps.jobs.slurm.bad_nodes import refuse_to_do_without_a_gpu
from sweeps.jobs.slurm.time_limit import (
    come_back,
    is_running,
    job_number,
    others_will_do,
    progress,
    seconds_left,
    work_left,
)
from sweeps.jobs.watchdog import Watch
from sweeps.storage.paths import JobPaths
from sweeps.storage.sweep import Sweep

POLL_SECONDS = 0.2
PUBLISHER_PAUSE_SECONDS = 60.0
"""How long a publisher that died is not started again."""
PUBLISHER_SECONDS = 300.0
"""How long a job waits at its end for the last publication, where its time allows."""
ERROR_PAUSE_SECONDS = 5.0
"""After an error of the file system nothing is looked at for so long."""
PATIENCE_SECONDS = 900.0
"""How long a job bears such errors one after another; its workers go on meanwhile."""
LAST_SECONDS = 10.0
"""What is kept of a job's time for going back into the queue."""


@dataclass
class Supervisor:
    """One job's workers and its publisher."""

    sweep: Sweep
    job: JobPaths
    publisher: subprocess.Popen[bytes] | None = None
    publisher_not_before: float = 0.0
    leaving: bool = False
    told_to_end: float | None = None
    """When that was said by SIGTERM (scancel, pre-emption), by the monotonic clock; None where it
    was not, but the time is nearly up."""
    end: float = 0.0
    """When the scheduler ends the job, by the monotonic clock."""

    def run(self) -> None:
        """Keep the places filled until every worker is done, then let the publisher finish.

        Raises:
            WorldError: the job was promised a GPU and has none.
        """
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._leave)
        if self.sweep.is_over() or self.sweep.is_stopped():
            say("nothing is left to do")
            self.job.ended.touch()
            return
        refuse_to_do_without_a_gpu(self.sweep, self.job)
        self.job.ended.unlink(missing_ok=True)  # SLURM may start the same job again
        files.write(self.job.started, json.dumps(self._what_runs()))
        before = progress(self.sweep)
        self._work()
        self._end_publisher()
        if not self._is_still_ours():
            say("the job runs elsewhere by now")
        elif self._is_ended_by_slurm():
            say("SLURM ends this job; whether it starts it again is decided there")
        elif self._has_to_come_back(before):
            self._come_back()
        else:
            self.job.ended.touch()

    def _in_slurm(self) -> bool:
        return self.sweep.plan.cluster.scheduler == "slurm"

    def _is_ended_by_slurm(self) -> bool:
        if not self._in_slurm() or self.told_to_end is None:
            return False
        return not is_running(self.sweep.paths, time.monotonic() - self.told_to_end)

    def _work(self) -> None:
        places, watch, told = self._places(), Watch(self.sweep), False
        well = time.monotonic()
        while not places.are_done():
            if self._in_slurm() and time.monotonic() > self.end - LAST_SECONDS:
                for place in places:  # the epochs they are in would be lost all the same
                    place.free()
                return
            if self.leaving and not told:
                told = True
                places.tell(signal.SIGTERM)  # each worker leaves after the epoch it is in
            try:
                self._look_around(places, watch)
                well = time.monotonic()
            except OSError as error:  # a file server that hiccups costs no job
                say(f"looking after the workers: {error}")
                if time.monotonic() - well > PATIENCE_SECONDS:
                    places.tell(signal.SIGTERM)
                    raise
                time.sleep(ERROR_PAUSE_SECONDS)
            time.sleep(POLL_SECONDS)

    def _look_around(self, places: Places, watch: Watch) -> None:
        places.look(leaving=self.leaving)
        self._note_deaths(places)
        watch.look(places)
        self._look_after_the_publisher()
        os.utime(self.job.started)  # for those on other machines: this job is alive

    def _note_deaths(self, places: Places) -> None:
        for place in places:
            while place.deaths:
                if note_death(self.sweep, place.deaths.pop()):
                    place.forgive()

    def _what_runs(self) -> dict[str, Any]:
        """This process, and the number that its scheduler has for the job."""
        scheduler = {"scheduler": self.sweep.plan.cluster.scheduler, "id": job_number()}
        return this_process().to_json() | scheduler

    def _is_still_ours(self) -> bool:
        """Whether no other run of the job was started, as SLURM does when it loses a node."""
        return Process.from_json(files.read_json(self.job.started)) == this_process()

    def _has_to_come_back(self, before: int) -> bool:
        """Whether work is left that this job is to go on with, once it is started again."""
        if not self._in_slurm() or not work_left(self.sweep):
            return False
        if progress(self.sweep) == before and self.told_to_end is None:
            say("no epoch was finished in this job, so it does not come back")
            return False
        limited = self.sweep.plan.cluster.trials_per_job
        return not (limited and others_will_do(self.sweep, self.job))

    def _come_back(self) -> None:
        """Go back into the queue, for SLURM to start this job again."""
        say("work is left: going back into the queue")
        try:
            come_back(patience=max(LAST_SECONDS, self.end - time.monotonic() - LAST_SECONDS))
        except WorldError as error:
            say(f"{error}; the next job goes on")
            self.job.ended.touch()

    def _places(self) -> Places:
        cluster = self.sweep.plan.cluster
        workers, threads = crew(cluster)
        left = seconds_left(cluster)
        self.end = time.monotonic() + left
        command = [sys.executable, "-m", "sweeps", "work", str(self.sweep.paths.folder)]
        command += ["--job", self.job.token, "--threads", str(threads)]
        command += ["--until", f"{time.time() + left - margin_seconds(left):.0f}"]
        limited = ["--trials", str(cluster.trials_per_job)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        usual = [*command, *limited, *(["--alone"] if workers == 1 else [])]
        lonely = [*command, "--alone", "--only-lonely"]
        logs = [self.job.worker_log(number) for number in range(1, workers + 2)]
        return Places(
            [Place(at + 1, usual, logs[at], environment) for at in range(workers)],
            Place(workers + 1, lonely, logs[-1], environment),
        )

    def _look_after_the_publisher(self) -> None:
        """Start the publisher, and start it again a while after it died."""
        if self.publisher is not None and self.publisher.poll() is None:
            return
        if time.monotonic() >= self.publisher_not_before and not self.leaving:
            self.publisher_not_before = time.monotonic() + PUBLISHER_PAUSE_SECONDS
            self._start_publisher()

    def _start_publisher(self) -> None:
        command = [sys.executable, "-m", "sweeps", "publish", str(self.sweep.paths.folder)]
        with self.job.publisher_log.open("ab") as log:
            self.publisher = start(command, log, dict(os.environ))

    def _end_publisher(self) -> None:
        if self.publisher is None:
            return
        self.publisher.terminate()
        try:
            left = self.end - time.monotonic() - 2 * LAST_SECONDS
            self.publisher.wait(min(PUBLISHER_SECONDS, max(1.0, left)))
        except subprocess.TimeoutExpired:  # `sweeps sync` sends what is missing
            self.publisher.kill()
            self.publisher.wait()

    def _leave(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal wants it)
        self.leaving = True
        if number == signal.SIGTERM:
            self.told_to_end = self.told_to_end or time.monotonic()
