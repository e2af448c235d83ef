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
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from sweeps import files
from sweeps.cluster import crew, work_seconds
from sweeps.errors import WorldError
from sweeps.machine import hostname, this_process
from sweeps.paths import JobPaths
from sweeps.sweep import Sweep

POLL_SECONDS = 0.2
RESTARTS = 5
"""How often a worker's place is filled again before it is given up."""
PUBLISHER_PAUSE_SECONDS = 60.0
"""How long a publisher that died is not started again."""
LONG_LIFE_SECONDS = 600.0
"""A worker that lived so long makes its place forget the deaths before."""
PUBLISHER_SECONDS = 300.0
"""How long a job waits at its end for the last publication."""


@dataclass
class Place:
    """A worker's place in the job, filled by one process after another."""

    number: int
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    filled: float = 0.0
    """When the place was last filled, by the monotonic clock."""
    not_before: float = 0.0
    """When the place may be filled, by the monotonic clock: later after each death."""
    done: bool = False

    def look(self, *, leaving: bool) -> None:
        """Fill an empty place; take note of a worker that ended, by itself or not."""
        if self.done:
            return
        if self.process is None:
            self.done = leaving
            if not leaving and time.monotonic() >= self.not_before:
                self._fill()
        elif (code := self.process.poll()) is not None:
            print(f"worker {self.number} ended with status {code}", flush=True)
            self.process = None
            if time.monotonic() - self.filled > LONG_LIFE_SECONDS:
                self.starts = 1
            self.done = code == 0 or leaving or self.starts > RESTARTS
            self.not_before = time.monotonic() + min(2.0**self.starts, 60.0) - 2.0

    def _fill(self) -> None:
        with self.log.open("ab") as log:
            self.process = _start(self.command, log, self.environment)
        self.starts += 1
        self.filled = time.monotonic()


@dataclass
class Supervisor:
    """One job's workers and its publisher."""

    sweep: Sweep
    job: JobPaths
    places: list[Place] = field(default_factory=list)
    publisher: subprocess.Popen[bytes] | None = None
    publisher_not_before: float = 0.0
    leaving: bool = False

    def run(self) -> None:
        """Keep the places filled until every worker is done, then let the publisher finish.

        Raises:
            WorldError: the job was promised a GPU and has none.
        """
        self._refuse_to_do_without_a_gpu()
        self.job.ended.unlink(missing_ok=True)  # SLURM may start the same job again
        files.write(self.job.started, json.dumps(self._what_runs()))
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._leave)
        self._open_places()
        told = False
        while not all(place.done for place in self.places):
            for place in self.places:
                place.look(leaving=self.leaving)
            self._look_after_the_publisher()
            os.utime(self.job.started)  # for those on other machines: this job is alive
            if self.leaving and not told:
                told = True
                self._tell_workers_to_leave()
            time.sleep(POLL_SECONDS)
        self._end_publisher()
        self.job.ended.touch()

    def _what_runs(self) -> dict[str, Any]:
        """This process, and the number that its scheduler has for the job."""
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        task = os.environ.get("SLURM_ARRAY_TASK_ID")
        number = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
        scheduler = {"scheduler": self.sweep.plan.cluster.scheduler, "id": number}
        return this_process().to_json() | scheduler

    def _refuse_to_do_without_a_gpu(self) -> None:
        cluster = self.sweep.plan.cluster
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if cluster.scheduler == "slurm" and cluster.gpus and not visible:
            raise WorldError(f"{hostname()}: the cluster file promises a GPU and SLURM gave none")

    def _open_places(self) -> None:
        cluster = self.sweep.plan.cluster
        workers, threads = crew(cluster)
        command = [sys.executable, "-m", "sweeps", "work", str(self.sweep.paths.folder)]
        command += ["--job", self.job.token, "--threads", str(threads)]
        command += ["--until", f"{time.time() + work_seconds(cluster):.0f}"]
        command += ["--trials", str(cluster.trials_per_job)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        self.places += [
            Place(number, command, self.job.worker_log(number), environment)
            for number in range(1, workers + 1)
        ]

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
            self.publisher = _start(command, log, dict(os.environ))

    def _end_publisher(self) -> None:
        if self.publisher is None:
            return
        self.publisher.terminate()
        try:
            self.publisher.wait(PUBLISHER_SECONDS)
        except subprocess.TimeoutExpired:  # `sweeps sync` sends what is missing
            self.publisher.kill()
            self.publisher.wait()

    def _leave(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal wants it)
        self.leaving = True

    def _tell_workers_to_leave(self) -> None:
        """Each worker leaves after the epoch it is in."""
        for place in self.places:
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(signal.SIGTERM)


def _start(
    command: list[str], log: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
    )
