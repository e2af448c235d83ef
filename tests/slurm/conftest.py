"""The cluster under test, one a test process, and sweeps of the tiny trainer sent to it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeps.filesystem import atomic
from sweeps.storage.paths import RunsPaths, TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_curve
from tests.slurm.cluster import why_not
from tests.slurm.curves import check_curves
from tests.sweeps.conftest import (  # noqa: F401 (fixtures)
    EXPERIMENT,
    empty_store,
    write_experiment,
)
from tests.sweeps.workers.test_crashes import check_whole

ROOT = Path(__file__).parents[2]
PATH = f"{os.environ['PATH']}:/usr/sbin"
PATIENCE = 400.0
"""Seconds to wait for anything: far more than it takes."""
REVOKED_SECONDS = 2.0
"""How long a job stays put back at least. A node refuses every credential of the second in which
it ended the job, and SLURM, which waits two minutes for that, takes the refusal for a failure."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ROOT / "tests" / "slurm" in item.path.parents:
            item.add_marker(pytest.mark.slurm)


class Testbed:
    """A cluster under test, seen from outside."""

    __test__ = False

    def __init__(self, keeper: subprocess.Popen[str], folder: Path) -> None:
        self.keeper = keeper
        self.folder = folder
        self.put_back: dict[str, float] = {}

    def order(self, what: str, daemon: str) -> None:
        """Have a daemon started or killed."""
        self.keeper.stdin.write(f"{what} {daemon}\n")
        self.keeper.stdin.flush()
        assert self.keeper.stdout.readline() == "done\n"

    def call(self, *command: str) -> str:
        """What one of SLURM's commands answers."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=os.environ | {"PATH": PATH},  # not what a test counts
        ).stdout

    def queue(self) -> list[list[str]]:
        """Number, state, node and reason of each job there is."""
        answer = self.call("squeue", "-h", "--array", "-o%i|%T|%N|%r")
        return [line.split("|") for line in answer.splitlines()]

    def running(self) -> list[str]:
        """The numbers of the jobs that run."""
        return [number for number, state, *_ in self.queue() if state == "RUNNING"]

    def let_start(self) -> None:
        """Spare jobs that were put back most of the two minutes that SLURM has them wait."""
        waiting = [n for n, *rest in self.queue() if (rest[0], rest[2]) == ("PENDING", "BeginTime")]
        now = time.monotonic()
        self.put_back = {number: self.put_back.get(number, now) for number in waiting}
        for number, since in self.put_back.items():
            if now - since > REVOKED_SECONDS:
                self.call("scontrol", "update", f"JobId={number}", "StartTime=now")


@pytest.fixture(scope="session")
def session_testbed() -> Iterator[Testbed]:
    reason = why_not()
    if reason is not None:
        if os.environ.get("SLURM_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.cluster", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert keeper.stdout.readline() == "ready\n"
        yield Testbed(keeper, folder)
        keeper.stdin.close()
        keeper.wait(timeout=60)
        keeper.stdout.close()


@pytest.fixture
def testbed(session_testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    monkeypatch.setenv("SLURM_CONF", str(session_testbed.folder / "slurm.conf"))
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield session_testbed
    session_testbed.call("scancel", "--user=root")
    wait_for(lambda: not session_testbed.queue())


CLUSTER = """
scheduler = "slurm"
partition = "{partition}"
account = "comp3710"
gres = "gpu:1"
gpus = 1
cpus = 2
threads = 1
time_limit = "{time_limit}"
jobs = {jobs}
max_running_jobs = {max_running_jobs}
workers = {workers}
trials_per_job = {trials_per_job}
claim_seconds = 6
setup = ["export SWEEPS_HOST=$SLURMD_NODENAME", {setup}]
"""


@dataclass(frozen=True)
class Site:
    """A folder with an experiment and a cluster file, and the commands as a person types them."""

    testbed: Testbed
    folder: Path

    def sweeps(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the commands here."""
        ended = subprocess.run(
            [sys.executable, "-m", "sweeps", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    def start(self, name: str = "tiny") -> Sweep:
        """Send the sweep, with nobody watching."""
        self.sweeps("run", f"{name}.toml", "--cluster", "testbed", "--no-watch")
        return self.sweep(name)

    def sweep(self, name: str = "tiny") -> Sweep:
        """The sweep as it stands."""
        return open_sweep(RunsPaths(self.folder / "runs").sweep(name))

    def let_a_minute_pass(self) -> None:
        """Have the next who wants to know ask SLURM, as if nobody had lately."""
        slurm = RunsPaths(self.folder / "runs").slurm
        for path in (slurm.queue, slurm.queries):
            path.unlink(missing_ok=True)

    def log(self) -> str:
        """All that jobs and workers printed."""
        found = sorted((self.folder / "runs").glob("*/jobs/**/*.*"))
        texts = [
            p.read_text(errors="replace") for p in found if p.suffix in {".log", ".out", ".err"}
        ]
        return "\n".join(texts)

    def is_idle(self) -> bool:
        """Whether no job is left; one that was put back is let find out that nothing is to do."""
        self.testbed.let_start()
        return not self.testbed.queue()

    def finish(self, sweep: Sweep) -> None:
        """Wait until the sweep is over and its jobs are gone; then everything must agree."""
        wait_for(sweep.is_over, self.log)
        wait_for(self.is_idle, self.log)
        self.sweeps("sync", sweep.paths.name)
        check_whole(sweep)
        check_curves(sweep, self.folder / "undisturbed")


def wait_for(condition: Callable[[], object], explain: Callable[[], str] = str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, explain()
        time.sleep(0.2)


def epochs(sweep: Sweep) -> int:
    return sum(len(read_curve(trial)) for trial in sweep.paths.trials())


def hosts_of(trial: TrialPaths) -> list[str]:
    """Where each attempt at the trial was made."""
    return [atomic.read_json(attempt.claim)["host"] for attempt in trial.attempts()]


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(
    testbed: Testbed,
    tmp_path: Path,
    write_experiment: Callable[..., Path],  # noqa: F811
    empty_store: Path,  # noqa: F811
) -> MakeSite:
    """A folder as a clone of this repository would be, on the cluster under test."""

    def make(
        partition: str = "comp3710",
        time_limit: str = "30",
        jobs: int = 2,
        max_running_jobs: int = 1,
        workers: int = 1,
        trials_per_job: int = 0,
        setup: str = "",
        **experiment: object,
    ) -> Site:
        write_experiment(**experiment)
        clusters = tmp_path / "experiments" / "clusters"
        clusters.mkdir(parents=True, exist_ok=True)
        (clusters / "testbed.toml").write_text(
            CLUSTER.format(
                partition=partition,
                time_limit=time_limit,
                jobs=jobs,
                max_running_jobs=max_running_jobs,
                workers=workers,
                trials_per_job=trials_per_job,
                setup=setup,
            )
        )
        runs = tmp_path / "runs"
        runs.mkdir(exist_ok=True)
        (runs / "mlflow.db").write_bytes(empty_store.read_bytes())
        return Site(testbed, tmp_path)

    return make
