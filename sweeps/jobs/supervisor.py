"""The supervisor: the one task of a job, which starts and restarts workers until they are done.

Each worker is a process of its own. So a fault that ends one worker (a bug in a driver, a lack of
memory) does not end the others. A worker whose exit code says that nothing is left to do, or that
the disk is full, is not replaced. Any other is replaced by a new one, which continues its trial.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from sweeps.config.cluster import workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem.process import this_process
from sweeps.jobs.notify import notify
from sweeps.jobs.publisher_process import PublisherProcess
from sweeps.jobs.requeue import is_running, job_id, requeue, waiting_jobs_suffice
from sweeps.jobs.scratch import VARIABLE, scratch_folder
from sweeps.jobs.slots import Slot, Slots, print_line
from sweeps.jobs.slurm.bad_nodes import check_gpu
from sweeps.jobs.slurm.cores import check_cores
from sweeps.jobs.slurm.time_limit import REQUEUE_SECONDS, margin_seconds, seconds_left
from sweeps.jobs.watchdog import Watchdog, record_death
from sweeps.storage.job_record import JobRecord, read_started, write_job_record
from sweeps.storage.paths import JobPaths
from sweeps.storage.progress import finished_epochs_and_trials
from sweeps.storage.sweep import Sweep
from sweeps.workers.device_access import DeviceAccess

POLL_SECONDS = 0.2
ERROR_PAUSE_SECONDS = 5.0
"""How long the supervisor waits after an error of the file system."""
MAX_ERROR_SECONDS = 900.0
"""How long such errors may repeat before the job ends; its workers continue meanwhile."""


@dataclass
class Supervisor:
    """Runs the workers and the publisher of one job."""

    sweep: Sweep
    job: JobPaths
    leaving: bool = False
    terminated_at: float | None = None
    """When SIGTERM arrived (scancel, pre-emption), by the monotonic clock; None if it has not.

    A job can be `leaving` without it: SIGUSR2 only warns that the time limit is near.
    """
    ends_at: float = 0.0
    """When the scheduler ends the job, by the monotonic clock."""
    publisher: PublisherProcess = field(init=False)

    def __post_init__(self) -> None:
        self.publisher = PublisherProcess(self.sweep.paths, self.job)

    def run(self) -> None:
        """Keep the slots filled until every worker is done, then wait for the last publication.

        Raises:
            EnvironmentFailure: the cluster file requests a GPU, and the job has none.
        """
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._handle_signal)
        if self.sweep.is_over() or self.sweep.is_stopped():
            print_line("no work is left for this job")
            self._end()
            return
        check_gpu(self.sweep, self.job)
        check_cores(self.sweep.plan.cluster, self.job)
        self.job.ended.unlink(missing_ok=True)  # SLURM may have started the same job again
        scheduler = self.sweep.plan.cluster.scheduler
        name = os.environ.get("SLURM_CLUSTER_NAME", "") if self._in_slurm() else ""
        write_job_record(self.job.started, JobRecord(job_id(), scheduler, this_process(), name))
        before = finished_epochs_and_trials(self.sweep.paths)
        self._run_workers()
        self.publisher.finish(self.ends_at)
        if not self._is_latest_run():
            print_line("SLURM has started this job again, so this run of it ends")
        elif self._is_ended_by_slurm():
            print_line("SLURM ends this job and decides whether to start it again")
        elif self._must_requeue(before):
            self._requeue()
        else:
            self._end()

    def _end(self) -> None:
        self.job.ended.touch()
        notify(self.sweep)

    def _in_slurm(self) -> bool:
        return self.sweep.plan.cluster.scheduler == "slurm"

    def _is_ended_by_slurm(self) -> bool:
        if not self._in_slurm() or self.terminated_at is None:
            return False
        seconds_ago = time.monotonic() - self.terminated_at
        return not is_running(self.sweep.paths, self.job, seconds_ago, self.ends_at)

    def _run_workers(self) -> None:
        with scratch_folder(self.sweep.plan.cluster, self.job.token) as scratch:
            self._keep_workers(self._build_slots(scratch))

    def _keep_workers(self, slots: Slots) -> None:
        watchdog, asked_to_leave = Watchdog(self.sweep), False
        last_success = time.monotonic()
        while not slots.are_done():
            if self._in_slurm() and time.monotonic() > self.ends_at - REQUEUE_SECONDS:
                for slot in slots:  # their current epochs could not be finished in any case
                    slot.kill_worker()
                return
            if self.leaving and not asked_to_leave:
                asked_to_leave = True
                slots.send_signal(signal.SIGTERM)  # each worker leaves after its current epoch
            try:
                self._update(slots, watchdog)
                last_success = time.monotonic()
            except OSError as error:  # a short failure of the file server must not end the job
                print_line(f"could not check the workers, will try again: {error}")
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
        os.utime(self.job.started)  # shows processes on other machines that this job is alive

    def _record_deaths(self, slots: Slots) -> None:
        for slot in slots:
            while slot.deaths:
                if record_death(self.sweep, slot.deaths.pop()):
                    slot.discount_restart()

    def _is_latest_run(self) -> bool:
        """Return whether SLURM has not started the job again, as it does when it loses a node."""
        started = read_started(self.job)
        return started is not None and started.process == this_process()

    def _must_requeue(self, before: int) -> bool:
        """Return whether this job must requeue itself, to continue the work that is left.

        Args:
            before: `finished_epochs_and_trials` at the start of the job.
        """
        if not self._in_slurm() or not self.sweep.unclaimed_trials():
            return False
        if finished_epochs_and_trials(self.sweep.paths) == before and self.terminated_at is None:
            print_line("no epoch was finished in this job, so it is not requeued")
            return False
        limited = self.sweep.plan.cluster.trials_per_job
        return not (limited and waiting_jobs_suffice(self.sweep, self.job))

    def _requeue(self) -> None:
        """Requeue this job, so that SLURM starts it again."""
        print_line("work is left: this job requeues itself")
        try:
            left = self.ends_at - time.monotonic()
            requeue(self.job, max(REQUEUE_SECONDS, left - REQUEUE_SECONDS))
        except EnvironmentFailure as error:
            print_line(f"this job was not requeued ({error}); the sweep's next job continues")
            self._end()

    def _build_slots(self, scratch: Path | None) -> Slots:
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
            VARIABLE: "" if scratch is None else str(scratch),
        }
        access = DeviceAccess.SHARED if workers > 1 else DeviceAccess.SINGLE
        limit = ["--trials", str(cluster.trials_per_job)]
        regular = [*command, *limit, "--device-access", access]
        exclusive = [*command, "--device-access", DeviceAccess.EXCLUSIVE]
        logs = [self.job.worker_log(number) for number in range(1, workers + 2)]
        return Slots(
            [Slot(index + 1, regular, logs[index], environment) for index in range(workers)],
            Slot(workers + 1, exclusive, logs[-1], environment),
        )

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        self.leaving = True
        if number == signal.SIGTERM:
            self.terminated_at = self.terminated_at or time.monotonic()
