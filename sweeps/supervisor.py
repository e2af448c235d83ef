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
from typing import IO

from sweeps import files
from sweeps.cluster import crew, minutes
from sweeps.machine import this_process
from sweeps.paths import JobPaths
from sweeps.sweep import Sweep

POLL_SECONDS = 0.2
RESTARTS = 5
"""How often a worker's place is filled again before it is given up."""
MARGIN_SECONDS = 60.0
"""What is left of a job's time for its workers to write what they have and leave."""


@dataclass
class Place:
    """A worker's place in the job, filled by one process after another."""

    number: int
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    done: bool = False

    def fill(self) -> None:
        """Start a worker here."""
        with self.log.open("ab") as log:
            self.process = _start(self.command, log, self.environment)
        self.starts += 1

    def look(self, *, refill: bool) -> None:
        """Take note of a worker that ended, and fill its place again unless it was done."""
        if self.done or self.process is None or (code := self.process.poll()) is None:
            return
        print(f"worker {self.number} ended with status {code}", flush=True)
        if code == 0 or not refill or self.starts > RESTARTS:
            self.done = True
        else:
            time.sleep(min(2.0 ** (self.starts - 1), 30.0) - 1.0)
            self.fill()


@dataclass
class Supervisor:
    """One job's workers and its publisher."""

    sweep: Sweep
    job: JobPaths
    places: list[Place] = field(default_factory=list)
    publisher: subprocess.Popen[bytes] | None = None
    leaving: bool = False

    def run(self) -> None:
        """Keep the places filled until every worker is done, then let the publisher finish."""
        files.write(self.job.started, json.dumps(this_process().to_json()))
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._leave)
        self._open_places()
        self._start_publisher()
        while not all(place.done for place in self.places):
            for place in self.places:
                place.look(refill=not self.leaving)
            time.sleep(POLL_SECONDS)
        if self.publisher is not None:
            self.publisher.terminate()
            self.publisher.wait()
        self.job.ended.touch()

    def _open_places(self) -> None:
        cluster = self.sweep.plan.cluster
        workers, threads = crew(cluster)
        seconds = minutes(cluster.time_limit) * 60 - MARGIN_SECONDS
        command = [sys.executable, "-m", "sweeps", "work", str(self.sweep.paths.folder)]
        command += ["--job", self.job.token, "--threads", str(threads)]
        command += ["--seconds", f"{seconds:.0f}", "--trials", str(cluster.trials_per_job)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        for number in range(1, workers + 1):
            place = Place(number, command, self.job.worker_log(number), environment)
            place.fill()
            self.places.append(place)

    def _start_publisher(self) -> None:
        command = [sys.executable, "-m", "sweeps", "publish", str(self.sweep.paths.folder)]
        with self.job.publisher_log.open("ab") as log:
            self.publisher = _start(command, log, dict(os.environ))

    def _leave(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal wants it)
        """Hand the signal on: each worker leaves after the epoch it is in."""
        self.leaving = True
        for place in self.places:
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(signal.SIGTERM)


def _start(
    command: list[str], log: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
    )
