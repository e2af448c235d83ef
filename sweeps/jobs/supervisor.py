"""The supervisor: the one task of a job. It keeps the job's workers alive until they are done.

Workers are processes of their own, so that whatever ends one (a bug in a driver, the system's
memory) ends no other. A worker that leaves by itself has found nothing left to do; any other end
is followed by a new worker, which continues the trial that the dead one had.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

from sweeps.config.cluster import workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem.process import this_process
from sweeps.jobs.publisher_process import PublisherProcess
from sweeps.jobs.requeue import is_running, job_id, requeue, waiting_jobs_suffice
from sweeps.jobs.slots import Slot, Slots, print_line
from sweeps.jobs.slurm.bad_nodes import check_gpu
from sweeps.jobs.slurm.time_limit import REQUEUE_SECONDS, margin_seconds, seconds_left
from sweeps.jobs.watchdog import Watchdog, record_death
from sweeps.storage.job_record import JobRecord, read_started, write_job_record
from sweeps.storage.paths import JobPaths
from sweeps.storage.progress import finished_steps
from sweeps.storage.sweep import Sweep
from sweeps.workers.device_access import DeviceAccess

POLL_SECONDS = 0.2
ERROR_PAUSE_SECONDS = 5.0
"""After an error of the file system nothing is looked at for so long."""
MAX_ERROR_SECONDS = 900.0
"""How long a job bears such errors one after another; its workers go on meanwhile."""


@dataclass
class Supervisor:
    """One job's workers and its publisher."""

    sweep: Sweep
    job: JobPaths
    leaving: bool = False
    terminated_at: float | None = None
    """When that was said by SIGTERM (scancel, pre-emption), by the monotonic clock; None where it
    was not, but the time is nearly up."""
    ends_at: float = 0.0
    """When the scheduler ends the job, by the monotonic clock."""
    publisher: PublisherProcess = field(init=False)

    def __post_init__(self) -> None:
        self.publisher = PublisherProcess(self.sweep.paths, self.job)

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
        scheduler = self.sweep.plan.cluster.scheduler
        write_job_record(self.job.started, JobRecord(job_id(), scheduler, this_process()))
        before = finished_steps(self.sweep.paths)
        self._run_workers()
        self.publisher.finish(self.ends_at)
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
        slots, watchdog, told_to_leave = self._build_slots(), Watchdog(self.sweep), False
        last_success = time.monotonic()
        while not slots.are_done():
            if self._in_slurm() and time.monotonic() > self.ends_at - REQUEUE_SECONDS:
                for slot in slots:  # the epochs they are in would be lost all the same
                    slot.kill_worker()
                return
            if self.leaving and not told_to_leave:
                told_to_leave = True
                slots.send_signal(signal.SIGTERM)  # each worker leaves after the epoch it is in
            try:
                self._update(slots, watchdog)
                last_success = time.monotonic()
            except OSError as error:  # a file server that hiccups costs no job
                print_line(f"looking after the workers: {error}")
                if time.monotonic() - last_success > MAX_ERROR_SECONDS:
                    slots.send_signal(signal.SIGTERM)
                    raise
                time.sleep(ERROR_PAUSE_SECONDS)
            time.sleep(POLL_SECONDS)

    def _update(self, slots: Slots, watchdog: Watchdog) -> None:
        slots.update(leaving=self.leaving)
        self._record_deaths(slots)
        watchdog.check(slots)
        if not self.leaving:
            self.publisher.keep_running()
        os.utime(self.job.started)  # for those on other machines: this job is alive

    def _record_deaths(self, slots: Slots) -> None:
        for slot in slots:
            while slot.deaths:
                if record_death(self.sweep, slot.deaths.pop()):
                    slot.discount_restart()

    def _is_still_ours(self) -> bool:
        """Whether no other run of the job was started, as SLURM does when it loses a node."""
        started = read_started(self.job)
        return started is not None and started.process == this_process()

    def _must_requeue(self, before: int) -> bool:
        """Whether work is left that this job is to go on with, once it is started again."""
        if not self._in_slurm() or not self.sweep.unclaimed_trials():
            return False
        if finished_steps(self.sweep.paths) == before and self.terminated_at is None:
            print_line("no epoch was finished in this job, so it does not come back")
            return False
        limited = self.sweep.plan.cluster.trials_per_job
        return not (limited and waiting_jobs_suffice(self.sweep, self.job))

    def _requeue(self) -> None:
        """Go back into the queue, for SLURM to start this job again."""
        print_line("work is left: going back into the queue")
        try:
            left = self.ends_at - time.monotonic()
            requeue(patience=max(REQUEUE_SECONDS, left - REQUEUE_SECONDS))
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
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        access = DeviceAccess.SHARED if workers > 1 else DeviceAccess.SINGLE
        limit = ["--trials", str(cluster.trials_per_job)]
        regular = [*command, *limit, "--device-access", access]
        exclusive = [*command, "--device-access", DeviceAccess.EXCLUSIVE]
        logs = [self.job.worker_log(number) for number in range(1, workers + 2)]
        return Slots(
            [Slot(at + 1, regular, logs[at], environment) for at in range(workers)],
            Slot(workers + 1, exclusive, logs[-1], environment),
        )

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal wants it)
        self.leaving = True
        if number == signal.SIGTERM:
            self.terminated_at = self.terminated_at or time.monotonic()
