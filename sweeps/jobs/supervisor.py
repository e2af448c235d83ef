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

from sweeps.config.cluster import margin_seconds, workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import Process, this_process
from sweeps.jobs.deaths import record_death
from sweeps.jobs.slots import Slot, Slots, print_line, start_process
from sweeps.jobs.slurm.bad_nodes import check_gpu
from sweeps.jobs.slurm.time_limit import (
    is_running,
    job_id,
    progress_count,
    requeue,
    seconds_left,
    unclaimed_trials,
    waiting_jobs_suffice,
)
from sweeps.jobs.watchdog import Watchdog
from sweeps.storage.paths import JobPaths
from sweeps.storage.sweep import Sweep

POLL_SECONDS = 0.2
PUBLISHER_PAUSE_SECONDS = 60.0
"""How long a publisher that died is not started again."""
LAST_PUBLICATION_SECONDS = 300.0
"""How long a job waits at its end for the last publication, where its time allows."""
ERROR_PAUSE_SECONDS = 5.0
"""After an error of the file system nothing is looked at for so long."""
MAX_ERROR_SECONDS = 900.0
"""How long a job bears such errors one after another; its workers go on meanwhile."""
REQUEUE_SECONDS = 10.0
"""What is kept of a job's time for going back into the queue."""


@dataclass
class Supervisor:
    """One job's workers and its publisher."""

    sweep: Sweep
    job: JobPaths
    publisher: subprocess.Popen[bytes] | None = None
    publisher_not_before: float = 0.0
    leaving: bool = False
    terminated_at: float | None = None
    """When that was said by SIGTERM (scancel, pre-emption), by the monotonic clock; None where it
    was not, but the time is nearly up."""
    ends_at: float = 0.0
    """When the scheduler ends the job, by the monotonic clock."""

    def run(self) -> None:
        """Keep the places filled until every worker is done, then let the publisher finish.

        Raises:
            WorldError: the job was promised a GPU and has none.
        """
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._handle_signal)
        if self.sweep.is_over() or self.sweep.is_stopped():
            print_line("nothing is left to do")
            self.job.ended.touch()
            return
        check_gpu(self.sweep, self.job)
        self.job.ended.unlink(missing_ok=True)  # SLURM may start the same job again
        atomic.write(self.job.started, json.dumps(self._job_record()))
        before = progress_count(self.sweep)
        self._run_workers()
        self._end_publisher()
        if not self._is_still_ours():
            print_line("the job runs elsewhere by now")
        elif self._is_ended_by_slurm():
            print_line("SLURM ends this job; whether it starts it again is decided there")
        elif self._must_requeue(before):
            self._requeue()
        else:
            self.job.ended.touch()

    def _in_slurm(self) -> bool:
        return self.sweep.plan.cluster.scheduler == "slurm"

    def _is_ended_by_slurm(self) -> bool:
        if not self._in_slurm() or self.terminated_at is None:
            return False
        return not is_running(self.sweep.paths, time.monotonic() - self.terminated_at)

    def _run_workers(self) -> None:
        places, watch, told = self._build_slots(), Watchdog(self.sweep), False
        well = time.monotonic()
        while not places.are_done():
            if self._in_slurm() and time.monotonic() > self.ends_at - REQUEUE_SECONDS:
                for place in places:  # the epochs they are in would be lost all the same
                    place.kill_worker()
                return
            if self.leaving and not told:
                told = True
                places.send_signal(signal.SIGTERM)  # each worker leaves after the epoch it is in
            try:
                self._update(places, watch)
                well = time.monotonic()
            except OSError as error:  # a file server that hiccups costs no job
                print_line(f"looking after the workers: {error}")
                if time.monotonic() - well > MAX_ERROR_SECONDS:
                    places.send_signal(signal.SIGTERM)
                    raise
                time.sleep(ERROR_PAUSE_SECONDS)
            time.sleep(POLL_SECONDS)

    def _update(self, places: Slots, watch: Watchdog) -> None:
        places.update(leaving=self.leaving)
        self._record_deaths(places)
        watch.check(places)
        self._keep_publisher_running()
        os.utime(self.job.started)  # for those on other machines: this job is alive

    def _record_deaths(self, places: Slots) -> None:
        for place in places:
            while place.deaths:
                if record_death(self.sweep, place.deaths.pop()):
                    place.discount_restart()

    def _job_record(self) -> dict[str, Any]:
        """This process, and the number that its scheduler has for the job."""
        scheduler = {"scheduler": self.sweep.plan.cluster.scheduler, "id": job_id()}
        return this_process().to_json() | scheduler

    def _is_still_ours(self) -> bool:
        """Whether no other run of the job was started, as SLURM does when it loses a node."""
        return Process.from_json(atomic.read_json(self.job.started)) == this_process()

    def _must_requeue(self, before: int) -> bool:
        """Whether work is left that this job is to go on with, once it is started again."""
        if not self._in_slurm() or not unclaimed_trials(self.sweep):
            return False
        if progress_count(self.sweep) == before and self.terminated_at is None:
            print_line("no epoch was finished in this job, so it does not come back")
            return False
        limited = self.sweep.plan.cluster.trials_per_job
        return not (limited and waiting_jobs_suffice(self.sweep, self.job))

    def _requeue(self) -> None:
        """Go back into the queue, for SLURM to start this job again."""
        print_line("work is left: going back into the queue")
        try:
            requeue(
                patience=max(REQUEUE_SECONDS, self.ends_at - time.monotonic() - REQUEUE_SECONDS)
            )
        except EnvironmentFailure as error:
            print_line(f"{error}; the next job goes on")
            self.job.ended.touch()

    def _build_slots(self) -> Slots:
        cluster = self.sweep.plan.cluster
        workers, threads = workers_and_threads(cluster)
        left = seconds_left(cluster)
        self.ends_at = time.monotonic() + left
        command = [sys.executable, "-m", "sweeps", "work", str(self.sweep.paths.folder)]
        command += ["--job", self.job.token, "--threads", str(threads)]
        command += ["--until", f"{time.time() + left - margin_seconds(left):.0f}"]
        limited = ["--trials", str(cluster.trials_per_job)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        usual = [*command, *limited, *(["--exclusive"] if workers == 1 else [])]
        exclusive = [*command, "--exclusive", "--exclusive-only"]
        logs = [self.job.worker_log(number) for number in range(1, workers + 2)]
        return Slots(
            [Slot(at + 1, usual, logs[at], environment) for at in range(workers)],
            Slot(workers + 1, exclusive, logs[-1], environment),
        )

    def _keep_publisher_running(self) -> None:
        """Start the publisher, and start it again a while after it died."""
        if self.publisher is not None and self.publisher.poll() is None:
            return
        if time.monotonic() >= self.publisher_not_before and not self.leaving:
            self.publisher_not_before = time.monotonic() + PUBLISHER_PAUSE_SECONDS
            self._start_publisher()

    def _start_publisher(self) -> None:
        command = [sys.executable, "-m", "sweeps", "publish", str(self.sweep.paths.folder)]
        with self.job.publisher_log.open("ab") as log:
            self.publisher = start_process(command, log, dict(os.environ))

    def _end_publisher(self) -> None:
        if self.publisher is None:
            return
        self.publisher.terminate()
        try:
            left = self.ends_at - time.monotonic() - 2 * REQUEUE_SECONDS
            self.publisher.wait(min(LAST_PUBLICATION_SECONDS, max(1.0, left)))
        except subprocess.TimeoutExpired:  # `sweeps sync` sends what is missing
            self.publisher.kill()
            self.publisher.wait()

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal wants it)
        self.leaving = True
        if number == signal.SIGTERM:
            self.terminated_at = self.terminated_at or time.monotonic()
