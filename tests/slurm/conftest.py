"""Fixtures: the test cluster, and sweeps of the tiny trainer on it.

A test runs on Rangpur, or on the sites that `@pytest.mark.sites("rangpur", "bare")` names. A test
process has one cluster at a time: pytest orders the tests by their site.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeps.filesystem import atomic
from sweeps.storage.paths import RunsPaths, TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_curve
from tests.slurm.cluster import why_not
from tests.slurm.curves import check_curves
from tests.slurm.rules import RANGPUR, SITES, SiteRules
from tests.sweeps.conftest import (  # noqa: F401 (fixtures)
    EXPERIMENT,
    empty_store,
    write_experiment,
)
from tests.sweeps.workers.test_crashes import check_complete

ROOT = Path(__file__).parents[2]
PATH = f"{os.environ['PATH']}:/usr/sbin"
PATIENCE = float(os.environ.get("SLURM_TESTS_PATIENCE", "400"))
"""How many seconds a test waits for a condition: far more than it needs. SLURM_TESTS_PATIENCE sets
it, to see soon what stands still."""
REVOKED_SECONDS = 2.0
"""How long a requeued job is delayed at least. A node refuses every credential of the second in
which it ended the job, and SLURM takes this refusal for a failure. SLURM's own delay of two minutes
avoids that."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each of its sites; a site may be a `pytest.param` with marks."""
    if "session_testbed" in metafunc.fixturenames:
        marks = metafunc.definition.iter_markers("sites")
        names = [name for mark in marks for name in mark.args] or [RANGPUR.name]
        metafunc.parametrize("session_testbed", names, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests; those of a site other than Rangpur are run by one process of xdist.

    So its cluster starts once. Rangpur's tests are many, and are shared by all processes; the
    slow ones begin first, so that no process waits for one of them at the end.
    """
    for item in items:
        if ROOT / "tests" / "slurm" not in item.path.parents:
            continue
        item.add_marker(pytest.mark.slurm)
        call = getattr(item, "callspec", None)
        site = call.params.get("session_testbed", RANGPUR.name) if call else RANGPUR.name
        if site != RANGPUR.name:
            item.add_marker(pytest.mark.xdist_group(site))
    items.sort(key=lambda item: not {"slurm", "slow"} <= {m.name for m in item.iter_markers()})


class Testbed:
    """A running test cluster, as the tests use it."""

    __test__ = False

    def __init__(self, keeper: subprocess.Popen[str], folder: Path, rules: SiteRules) -> None:
        self.keeper = keeper
        self.folder = folder
        self.rules = rules
        self.requeued: dict[str, float] = {}

    def act(self, action: str, name: str) -> None:
        """Start, stop, kill or wipe a daemon, or lose a node."""
        self.keeper.stdin.write(f"{action} {name}\n")
        self.keeper.stdin.flush()
        assert self.keeper.stdout.readline() == "done\n"

    def call(self, *command: str) -> str:
        """Run one of SLURM's commands, and return what it prints."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={
                **{k: v for k, v in os.environ.items() if k not in self.rules.environment},
                "PATH": PATH,  # without wrappers
            },
        ).stdout

    def environment(self) -> dict[str, str]:
        """Return the environment variables that a user has at this site."""
        return {
            **self.rules.environment,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'wrappers'}:{PATH}",
            "PYTHONPATH": str(ROOT),
        }

    def queue(self) -> list[list[str]]:
        """Return id, state, node and reason of each job in the queue."""
        answer = self.call("squeue", "-h", "--array", "-o%i|%T|%N|%r")
        return [line.split("|") for line in answer.splitlines()]

    def running(self) -> list[str]:
        """Return the ids of the jobs that run."""
        return [number for number, state, *_ in self.queue() if state == "RUNNING"]

    def shorten_requeue_delay(self) -> None:
        """Start requeued jobs after REVOKED_SECONDS instead of SLURM's two minutes."""
        delayed = [n for n, *rest in self.queue() if (rest[0], rest[2]) == ("PENDING", "BeginTime")]
        now = time.monotonic()
        self.requeued = {number: self.requeued.get(number, now) for number in delayed}
        for number, since in self.requeued.items():
            if now - since > REVOKED_SECONDS:
                self.call("scontrol", "update", f"JobId={number}", "StartTime=now")


@contextmanager
def running_testbed(rules: SiteRules) -> Iterator[Testbed]:
    """Run a test cluster with these rules while the block runs."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        lines = [f"{key}={value or ''}" for key, value in rules.slurm.items()]
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.cluster", name, rules.name, *lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert keeper.stdout.readline() == "ready\n"
        try:
            yield Testbed(keeper, Path(name), rules)
        finally:
            keeper.stdin.close()
            keeper.wait(timeout=60)
            keeper.stdout.close()


@pytest.fixture(scope="session")
def session_testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    reason = why_not()
    if reason is not None:
        if os.environ.get("SLURM_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_testbed(SITES[request.param]) as testbed:
        yield testbed


@pytest.fixture
def testbed(session_testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    for name, value in session_testbed.environment().items():
        monkeypatch.setenv(name, value)
    yield session_testbed
    session_testbed.call("scancel", "--user=root")
    wait_for(lambda: not session_testbed.queue())


CLUSTER = """
scheduler = "slurm"
partition = "{partition}"
{account}
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


def account_line(rules: SiteRules) -> str:
    """Return the line of the cluster file that names the site's account, if it has one."""
    return "" if rules.account is None else f'account = "{rules.account}"'


@dataclass(frozen=True)
class Site:
    """A folder with an experiment and a cluster file, to run commands in as a person does."""

    testbed: Testbed
    folder: Path

    def sweeps(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of `sweeps` in the folder."""
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
        """Start the sweep without a watcher."""
        self.sweeps("run", f"{name}.toml", "--cluster", "testbed", "--no-watch")
        return self.sweep(name)

    def sweep(self, name: str = "tiny") -> Sweep:
        """Open the sweep in its current state."""
        return open_sweep(RunsPaths(self.folder / "runs").sweep(name))

    def let_a_minute_pass(self) -> None:
        """Reset the rate limit and the stored answer, so that the next process asks SLURM."""
        slurm = RunsPaths(self.folder / "runs").slurm
        for path in (slurm.queue, slurm.queries):
            path.unlink(missing_ok=True)

    def log(self) -> str:
        """Return everything that jobs and workers printed."""
        found = sorted((self.folder / "runs").glob("*/jobs/**/*.*"))
        texts = [
            p.read_text(errors="replace") for p in found if p.suffix in {".log", ".out", ".err"}
        ]
        return "\n".join(texts)

    def is_idle(self) -> bool:
        """Return whether no job is left. A requeued job is started: it finds no work and ends."""
        self.testbed.shorten_requeue_delay()
        return not self.testbed.queue()

    def wait_until_over(self, sweep: Sweep) -> None:
        """Wait for the end of a sweep; requeued jobs start after seconds, not two minutes."""

        def is_over() -> bool:
            self.testbed.shorten_requeue_delay()
            return sweep.is_over()

        wait_for(is_over, self.log)

    def finish(self, sweep: Sweep) -> None:
        """Wait until the sweep is over and its jobs have ended; then check all its records."""
        wait_for(sweep.is_over, self.log)
        wait_for(self.is_idle, self.log)
        self.sweeps("sync", sweep.paths.name)
        check_complete(sweep)
        check_curves(sweep, self.folder / "undisturbed")


def wait_for(condition: Callable[[], object], explain: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.2)


def epochs(sweep: Sweep) -> int:
    return sum(len(read_curve(trial)) for trial in sweep.paths.trials())


def hosts_of(trial: TrialPaths) -> list[str]:
    """Return the host of each attempt of the trial."""
    return [atomic.read_json(attempt.claim)["host"] for attempt in trial.attempts()]


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(
    testbed: Testbed,
    tmp_path: Path,
    write_experiment: Callable[..., Path],  # noqa: F811
    empty_store: Path,  # noqa: F811
) -> MakeSite:
    """Make a folder like a clone of this repository, for sweeps on the test cluster."""

    def make(
        partition: str | None = None,
        time_limit: str = "30",
        jobs: int = 2,
        max_running_jobs: int = 1,
        workers: int = 1,
        trials_per_job: int = 0,
        setup: str = "",
        **experiment: object,
    ) -> Site:
        write_experiment(**experiment)
        rules = testbed.rules
        clusters = tmp_path / "experiments" / "clusters"
        clusters.mkdir(parents=True, exist_ok=True)
        (clusters / "testbed.toml").write_text(
            CLUSTER.format(
                partition=partition or rules.partition,
                account=account_line(rules),
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
