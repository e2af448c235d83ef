"""Injects the same faults, one per sweep, into sweeps of this project and of plain Optuna in turn.

`python -m benchmarks.plain_optuna --seed N` prints how many sweeps of each passed every check.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.plain_optuna.injector import STEPS
from tests.faults import external
from tests.faults.inside import DISK, FAULTS_INSIDE, FILLER, may_mount, mounted, processes
from tests.faults.scenarios import (
    DISK_FAULTS,
    FULL_SECONDS,
    MOUNTING,
    Fault,
    Scenario,
    run_scenario,
)
from tests.faults.schedule import FOLDER, Schedule, ScheduledFault
from tests.faults.server import Line, mlflow_server
from tests.faults.sites import ROOT, NoEndError
from tests.faults.steps import PHASES

TRIALS = 6
PROCESSES = 2
RESTARTS = 12
"""How often the processes of a sweep are restarted in all, as a shell loop would do."""
PATIENCE = 120.0
"""How many seconds a sweep has to end."""
BETWEEN_NAMES = ("rename", "middle")
"""A step and phase that plain Optuna does not have: it gives its checkpoint one name only."""
NO_FAULT = Fault("none at all")


class NotReachedError(Exception):
    """A sweep ended normally before it reached the step of its fault."""


@dataclass
class PlainSite:
    """A sweep of `benchmarks/plain_optuna/script.py` whose processes are restarted if they die."""

    folder: Path
    uri: str
    small_disk: bool
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.has_disk = self.small_disk and mounted(self.folder, 48)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.schedule = Schedule(self.folder.with_name(self.folder.name + "-schedule"))

    def start(self, count: int = PROCESSES) -> None:
        """Start `count` processes of the sweep."""
        command = [
            sys.executable,
            "-m",
            "benchmarks.plain_optuna.script",
            str(self.folder),
            str(TRIALS),
        ]
        environment = os.environ | {
            FOLDER: str(self.schedule.folder),
            DISK: str(self.folder),
            "FAULTS_SWEEP": str(self.folder),
            "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        }
        with self.folder.with_name(self.folder.name + ".log").open("ab") as log:
            self.running += [
                subprocess.Popen(
                    [*command, self.uri], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
                for _ in range(count)
            ]

    def restart_dead(self) -> bool:
        """Restart processes that died; return whether any process still runs."""
        for process in list(self.running):
            code = process.poll()
            if code is not None:
                self.running.remove(process)
                if code != 0 and self.restarts < RESTARTS:
                    self.restarts += 1
                    self.start(1)
        return bool(self.running)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until the condition is true while the sweep runs.

        Raises:
            NotReachedError: the sweep ended before.
            NoEndError: its processes died too often, or it does not end in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.restart_dead():
                raise (
                    NotReachedError if self.restarts < RESTARTS else NoEndError("it died too often")
                )
            if time.monotonic() > deadline:
                raise NoEndError("it does not end")
            time.sleep(0.1)

    def finish(self) -> None:
        """Wait for the end of the sweep.

        Raises:
            NoEndError: it does not end in time.
        """
        deadline = time.monotonic() + PATIENCE
        while self.restart_dead():
            if time.monotonic() > deadline:
                raise NoEndError("it does not end")
            time.sleep(0.1)

    def wait_for_trials(self) -> None:
        """Wait until a trial has written a checkpoint."""
        self.wait_for(lambda: any(self.folder.glob("trial-*/last.pt")))

    def kill(self) -> None:
        """Kill all processes of the sweep with SIGKILL."""
        for process in self.running:
            process.kill()

    def close(self) -> None:
        """Kill the remaining processes, and unmount the disk."""
        self.kill()
        for pid in processes("benchmarks.plain_optuna.script", str(self.folder)):
            os.kill(pid, signal.SIGKILL)
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def run_plain(fault: Fault, folder: Path, server: int, number: int) -> list[str] | None:
    """Run a sweep of plain Optuna with one fault.

    Args:
        fault: the fault.
        folder: where the sweep's folder is made.
        server: the port of the MLflow server.
        number: the number of the sweep, for its name.

    Returns:
        The problems found at the end; None if the fault did not happen.
    """
    line = Line(server) if fault.where == "server" else None
    database = folder / f"plain-{number}.db"
    uri = line.uri if line else f"sqlite:///{database}"
    site = PlainSite(folder / f"plain-{number}", uri, fault.name in DISK_FAULTS)
    if line is None:
        shutil.copy(folder / "empty.db", database)
    try:
        site.start()
        _inject(site, fault, line, database)
        site.finish()
        if line is not None:
            line.become("open")
        return _problems(site)
    except NoEndError as error:
        return [str(error)]
    except NotReachedError:
        return None
    finally:
        site.close()
        if line is not None:
            line.close()


def _inject(site: PlainSite, fault: Fault, line: Line | None, database: Path) -> None:
    if fault == NO_FAULT:
        return
    if fault.step:
        scheduled = ScheduledFault("0", fault.name, fault.step, fault.phase)
        site.schedule.give(scheduled)
        site.wait_for(lambda: site.schedule.fired(scheduled))
        if "frozen" in fault.name:
            time.sleep(4.0)
            found = site.schedule.fired(scheduled) or {}
            os.kill(found["pid"], signal.SIGCONT)
        if fault.name in DISK_FAULTS:
            time.sleep(FULL_SECONDS)
            (site.folder / FILLER).unlink(missing_ok=True)
        return
    site.wait_for_trials()
    _EXTERNAL[fault.name](site, line, database)


def _tear_journal(site: PlainSite, line: Line | None, database: Path) -> None:
    site.kill()
    with (site.folder / "study.jsonl").open("ab") as file:
        file.write(b'{"op_code":7,"worker_')


def _lock_database(site: PlainSite, line: Line | None, database: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(external.SOME_SECONDS)
    connection.rollback()
    connection.close()


def _set_mode(mode: str, *, to_the_end: bool = False) -> Callable[..., None]:
    def set_mode(site: PlainSite, line: Line, database: Path) -> None:
        line.become(mode)
        time.sleep(external.SOME_SECONDS)
        if not to_the_end:
            line.become("open")

    return set_mode


_EXTERNAL: dict[str, Callable[..., None]] = {
    "kill -9 of everything": lambda site, *_: site.kill(),
    "half a line in every file": _tear_journal,
    "two sweeps on two hosts": lambda site, *_: site.start(),
    "the database locked": _lock_database,
    "the server away for a while": _set_mode("away"),
    "the server slow": _set_mode("slow"),
    "the server answers 500": _set_mode("error"),
    "the server away to the end": _set_mode("away", to_the_end=True),
}


def _problems(site: PlainSite) -> list[str]:
    """Return what is wrong with an ended sweep.

    The checks are the least that may be required: the study can be read, as many trials have ended
    as were requested, none is lost, and none has two runs in MLflow.
    """
    from mlflow.tracking import MlflowClient
    from optuna.trial import TrialState

    from benchmarks.plain_optuna.script import study_in

    try:
        trials = study_in(site.folder).get_trials()
    except Exception as error:  # noqa: BLE001 (any error that Optuna raises for its journal)
        return [f"the study cannot be read: {type(error).__name__}"]
    ended = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    problems = []
    if len(ended) < TRIALS:
        problems.append(f"{len(ended)} of {TRIALS} trials ended")
    if lost := [t.number for t in trials if t.state == TrialState.RUNNING]:
        problems.append(f"trials {lost} stay in the state running, and their epochs are lost")
    if failed := [t.number for t in trials if t.state == TrialState.FAIL]:
        problems.append(f"trials {failed} failed, and their epochs are lost")
    client = MlflowClient(tracking_uri=site.uri)
    experiment = client.get_experiment_by_name(site.folder.name)
    runs = client.search_runs([experiment.experiment_id])
    by_name = Counter(run.info.run_name for run in runs)
    if set(by_name.values()) - {1}:
        problems.append("trials with more than one run in MLflow")
    for trial in ended:
        found = [r for r in runs if r.info.run_name == f"trial-{trial.number}"]
        points = client.get_metric_history(found[0].info.run_id, "val/score") if found else []
        if sorted(p.step for p in points) != sorted(trial.intermediate_values):
            problems.append(f"trial {trial.number}: different curves in MLflow and in the study")
    if any(run.info.status == "RUNNING" for run in runs):
        problems.append("runs in MLflow stay in the state running")
    return problems


def run_sweeps(fault: Fault, folder: Path, server: int, number: int) -> list[str]:
    """Run a sweep of this project with one fault, and return the problems found at the end."""
    where = fault.where or "database"
    faults = [] if fault == NO_FAULT else [fault]
    scenario = Scenario(number, faults, "tiny", where, number)
    run_scenario(scenario, folder, server)
    return scenario.problems


def choose_faults(seed: int, inside: int, outside: int) -> list[Fault]:
    """Choose the faults of all sweeps, in random order.

    Args:
        seed: of the random choice.
        inside: how many sweeps with each fault that happens at a step; the steps are random.
        outside: how many sweeps with each fault from outside.
    """
    generator = random.Random(seed)
    steps = [(step, phase) for step in STEPS for phase in PHASES if (step, phase) != BETWEEN_NAMES]
    faults = [Fault(name, *at) for name in FAULTS_INSIDE for at in generator.sample(steps, inside)]
    faults += outside * [Fault(name) for name in _EXTERNAL] + [NO_FAULT]
    generator.shuffle(faults)
    return faults


def main() -> None:
    """Run all sweeps, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.plain_optuna", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice of faults")
    parser.add_argument("--inside", type=int, default=5, help="sweeps with each fault at a step")
    parser.add_argument("--outside", type=int, default=2, help="sweeps with each other fault")
    arguments = parser.parse_args()
    faults = choose_faults(arguments.seed, arguments.inside, arguments.outside)
    if not may_mount():
        faults = [fault for fault in faults if fault.name not in MOUNTING]
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    _make_empty_store(folder)
    results: dict[str, dict[str, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
    with mlflow_server(folder / "server") as port, ThreadPoolExecutor(2) as pool:

        def run_both(number: int) -> None:
            fault = faults[number]
            for system, run in {"sweeps": run_sweeps, "plain": run_plain}.items():
                problems = run(fault, folder, port, number)
                if problems is None:
                    print(f"{system:7}{fault}: did not happen, not counted", flush=True)
                    continue
                results[fault.name][system].append(problems)
                print(f"{system:7}{fault}: {'; '.join(problems) or 'passed'}", flush=True)

        list(pool.map(run_both, range(len(faults))))
    _print_table(results)
    shutil.rmtree(folder, ignore_errors=True)


def _make_empty_store(folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{folder / 'empty.db'}").search_experiments()


def _print_table(results: dict[str, dict[str, list[list[str]]]]) -> None:
    print("\n| fault, one per sweep | this project | plain Optuna |\n|---|---|---|")
    passed: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for name in sorted(results):
        cells = []
        for system in ("sweeps", "plain"):
            count = sum(not problems for problems in results[name][system])
            passed[system] += count
            run[system] += len(results[name][system])
            cells.append(f"{count} of {len(results[name][system])}")
        print(f"| {name} | {' | '.join(cells)} |")
    sums = [f"{passed[system]} of {run[system]}" for system in ("sweeps", "plain")]
    print(f"| all sweeps that passed every check | {' | '.join(sums)} |")


if __name__ == "__main__":
    main()
