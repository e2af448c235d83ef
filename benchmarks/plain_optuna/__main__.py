"""The same faults, one a sweep, against this project and against plain Optuna, in turn.

`python -m benchmarks.plain_optuna --seed N` prints how many sweeps of each came through whole.
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
"""How often the loop in the shell starts a process again."""
PATIENCE = 120.0
BETWEEN_NAMES = ("rename", "middle")
"""A place that plain Optuna does not have: its checkpoint is given one name only."""
NO_FAULT = Fault("none at all")


class NeverReachedError(Exception):
    """A sweep ended, and well, before it came to where its fault was to happen."""


@dataclass
class PlainSite:
    """A sweep of `benchmarks/plain_optuna/script.py`, its processes kept alive."""

    folder: Path
    uri: str
    small_disk: bool
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.has_disk = self.small_disk and mounted(self.folder, 48)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.schedule = Schedule(self.folder.with_name(self.folder.name + "-orders"))

    def start(self, count: int = PROCESSES) -> None:
        """Start processes of the sweep."""
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

    def look_after(self) -> bool:
        """Start a process again that died; False once all have ended by themselves."""
        for process in list(self.running):
            code = process.poll()
            if code is not None:
                self.running.remove(process)
                if code != 0 and self.restarts < RESTARTS:
                    self.restarts += 1
                    self.start(1)
        return bool(self.running)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait while the sweep runs."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            if not self.look_after():
                raise NeverReachedError if self.restarts < RESTARTS else NoEndError("given up")
            if time.monotonic() > give_up:
                raise NoEndError("it does not end")
            time.sleep(0.1)

    def finish(self) -> None:
        """Wait for its end."""
        give_up = time.monotonic() + PATIENCE
        while self.look_after():
            if time.monotonic() > give_up:
                raise NoEndError("it does not end")
            time.sleep(0.1)

    def at_work(self) -> None:
        """Wait until trials are under way."""
        self.wait_for(lambda: any(self.folder.glob("trial-*/last.pt")))

    def kill(self) -> None:
        """`kill -9` of all its processes."""
        for process in self.running:
            process.kill()

    def close(self) -> None:
        """End what is left."""
        self.kill()
        for pid in processes("benchmarks.plain_optuna.script", str(self.folder)):
            os.kill(pid, signal.SIGKILL)
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def plain(fault: Fault, folder: Path, server: int, number: int) -> list[str] | None:
    """Meet one fault with plain Optuna; what was lost or doubled, None where it did not happen."""
    line = Line(server) if fault.where == "server" else None
    database = folder / f"plain-{number}.db"
    uri = line.uri if line else f"sqlite:///{database}"
    site = PlainSite(folder / f"plain-{number}", uri, fault.name in DISK_FAULTS)
    if line is None:
        shutil.copy(folder / "empty.db", database)
    try:
        site.start()
        _let_happen(site, fault, line, database)
        site.finish()
        if line is not None:
            line.become("open")
        return _judge(site)
    except NoEndError as error:
        return [str(error)]
    except NeverReachedError:
        return None
    finally:
        site.close()
        if line is not None:
            line.close()


def _let_happen(site: PlainSite, fault: Fault, line: Line | None, database: Path) -> None:
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
    site.at_work()
    _OUTSIDE[fault.name](site, line, database)


def _tear(site: PlainSite, line: Line | None, database: Path) -> None:
    site.kill()
    with (site.folder / "study.jsonl").open("ab") as file:
        file.write(b'{"op_code":7,"worker_')


def _lock(site: PlainSite, line: Line | None, database: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(external.SOME_SECONDS)
    connection.rollback()
    connection.close()


def _become(mode: str, *, for_ever: bool = False) -> Callable[..., None]:
    def act(site: PlainSite, line: Line, database: Path) -> None:
        line.become(mode)
        time.sleep(external.SOME_SECONDS)
        if not for_ever:
            line.become("open")

    return act


_OUTSIDE: dict[str, Callable[..., None]] = {
    "kill -9 of everything": lambda site, *_: site.kill(),
    "half a line in every file": _tear,
    "two sweeps on two hosts": lambda site, *_: site.start(),
    "the database locked": _lock,
    "the server away for a while": _become("away"),
    "the server slow": _become("slow"),
    "the server answers 500": _become("error"),
    "the server away to the end": _become("away", for_ever=True),
}


def _judge(site: PlainSite) -> list[str]:
    """The least that may be asked: readable, as many as asked for, none lost, none doubled."""
    from mlflow.tracking import MlflowClient
    from optuna.trial import TrialState

    from benchmarks.plain_optuna.script import study_in

    try:
        trials = study_in(site.folder).get_trials()
    except Exception as error:  # noqa: BLE001 (whatever Optuna says of its journal)
        return [f"the study cannot be read: {type(error).__name__}"]
    ended = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    problems = []
    if len(ended) < TRIALS:
        problems.append(f"{len(ended)} of {TRIALS} trials ended")
    if lost := [t.number for t in trials if t.state == TrialState.RUNNING]:
        problems.append(f"trials {lost} are left running for ever, their epochs lost")
    if failed := [t.number for t in trials if t.state == TrialState.FAIL]:
        problems.append(f"trials {failed} failed, their epochs lost")
    client = MlflowClient(tracking_uri=site.uri)
    experiment = client.get_experiment_by_name(site.folder.name)
    runs = client.search_runs([experiment.experiment_id])
    by_name = Counter(run.info.run_name for run in runs)
    if set(by_name.values()) - {1}:
        problems.append("runs doubled in MLflow")
    for trial in ended:
        found = [r for r in runs if r.info.run_name == f"trial-{trial.number}"]
        points = client.get_metric_history(found[0].info.run_id, "val/score") if found else []
        if sorted(p.step for p in points) != sorted(trial.intermediate_values):
            problems.append(f"trial {trial.number}: the curve in MLflow is not that of the study")
    if any(run.info.status == "RUNNING" for run in runs):
        problems.append("runs are left running for ever in MLflow")
    return problems


def ours(fault: Fault, folder: Path, server: int, number: int) -> list[str]:
    """Meet one fault with a sweep of this project; what was lost or doubled."""
    where = fault.where or "database"
    faults = [] if fault == NO_FAULT else [fault]
    scenario = Scenario(number, faults, "tiny", where, number)
    run_scenario(scenario, folder, server)
    return scenario.problems


def chosen(seed: int, bound: int, loose: int) -> list[Fault]:
    """So many places for each fault that is bound to a step, so many sweeps for each other."""
    chance = random.Random(seed)
    places = [(step, phase) for step in STEPS for phase in PHASES if (step, phase) != BETWEEN_NAMES]
    found = [Fault(name, *at) for name in FAULTS_INSIDE for at in chance.sample(places, bound)]
    found += loose * [Fault(name) for name in _OUTSIDE] + [NO_FAULT]
    chance.shuffle(found)
    return found


def main() -> None:
    """Run all, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.plain_optuna", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bound", type=int, default=5, help="places for each fault at a step")
    parser.add_argument("--loose", type=int, default=2, help="sweeps for each other fault")
    given = parser.parse_args()
    faults = chosen(given.seed, given.bound, given.loose)
    if not may_mount():
        faults = [fault for fault in faults if fault.name not in MOUNTING]
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    _empty_store(folder)
    found: dict[str, dict[str, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
    with mlflow_server(folder / "server") as port, ThreadPoolExecutor(2) as pool:

        def both(number: int) -> None:
            fault = faults[number]
            for who, meet in {"sweeps": ours, "plain": plain}.items():
                problems = meet(fault, folder, port, number)
                if problems is None:
                    print(f"{who:7}{fault}: did not happen, not counted", flush=True)
                    continue
                found[fault.name][who].append(problems)
                print(f"{who:7}{fault}: {'; '.join(problems) or 'whole'}", flush=True)

        list(pool.map(both, range(len(faults))))
    _print_table(found)
    shutil.rmtree(folder, ignore_errors=True)


def _empty_store(folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{folder / 'empty.db'}").search_experiments()


def _print_table(found: dict[str, dict[str, list[list[str]]]]) -> None:
    print("\n| fault | this project | plain Optuna |\n|---|---|---|")
    total: Counter[str] = Counter()
    for name in sorted(found):
        cells = []
        for who in ("sweeps", "plain"):
            whole = sum(not problems for problems in found[name][who])
            total[who] += whole
            total[f"{who} all"] += len(found[name][who])
            cells.append(f"{whole} of {len(found[name][who])}")
        print(f"| {name} | {' | '.join(cells)} |")
    sums = [f"{total[who]} of {total[f'{who} all']}" for who in ("sweeps", "plain")]
    print(f"| all | {' | '.join(sums)} |")


if __name__ == "__main__":
    main()
