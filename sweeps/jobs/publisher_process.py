"""A job's publisher process: it keeps MLflow up to date while the workers train."""

import os
import subprocess
import time
from dataclasses import dataclass

from sweeps.jobs.slots import start_process
from sweeps.jobs.slurm.time_limit import REQUEUE_SECONDS
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.tracking.sync import publish_command

PAUSE_SECONDS = 60.0
"""The shortest time between two starts of the publisher."""
LAST_PUBLICATION_SECONDS = 300.0
"""How long a job waits at its end for the last publication, if its time limit allows that."""


@dataclass
class PublisherProcess:
    """A publisher that is started, and restarted if it dies, until the job ends."""

    sweep: SweepPaths
    job: JobPaths
    process: subprocess.Popen[bytes] | None = None
    restart_after: float = 0.0
    """When the publisher may be started, by the monotonic clock."""

    def keep_running(self) -> None:
        """Start the publisher unless it runs or was started a short time ago."""
        if self.process is not None and self.process.poll() is None:
            return
        if time.monotonic() >= self.restart_after:
            self.restart_after = time.monotonic() + PAUSE_SECONDS
            with self.job.publisher_log.open("ab") as log:
                self.process = start_process(publish_command(self.sweep), log, dict(os.environ))

    def finish(self, job_ends_at: float) -> None:
        """Wait until the publisher has published everything once more, while time is left.

        Args:
            job_ends_at: when the scheduler ends the job, by the monotonic clock.
        """
        if self.process is None:
            return
        self.process.terminate()
        left = job_ends_at - time.monotonic() - 2 * REQUEUE_SECONDS
        try:
            self.process.wait(min(LAST_PUBLICATION_SECONDS, max(1.0, left)))
        except subprocess.TimeoutExpired:  # `sweeps sync` publishes what is missing
            self.process.kill()
            self.process.wait()
