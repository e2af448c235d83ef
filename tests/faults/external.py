"""Faults from outside of a sweep: in its processes, its files, its store or its clock."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweeps.storage.paths import TrialPaths
from tests.faults.inside import processes
from tests.faults.server import Line
from tests.faults.sites import CLAIM_SECONDS, NoEndError, Site
from tests.faults.steps import CLOCK

SOME_SECONDS = 3.0
"""How long a store is unavailable, slow, locked or read-only."""


@dataclass(frozen=True)
class Scene:
    """A running sweep, and what a fault may need."""

    site: Site
    line: Line | None
    chance: random.Random

    def at_work(self) -> None:
        """Wait until a trial is open, then for a short random time."""
        self.site.wait_for(lambda: open_trials(self.site), more=True)
        time.sleep(self.chance.uniform(0, 0.5))


def kill_publisher(scene: Scene) -> None:
    """`kill -9` of the process that writes to MLflow."""
    scene.site.wait_for(lambda: scene.site.kill("sweeps publish"), more=True)


def kill_watcher(scene: Scene) -> None:
    """`kill -9` of a `make sweep` that watches."""
    scene.at_work()
    watcher = scene.site.begin(*scene.site.run_arguments())
    time.sleep(scene.chance.uniform(0.5, 4.0))
    watcher.kill()
    watcher.communicate()


def kill_supervisor(scene: Scene) -> None:
    """`kill -9` of the job's supervisor; its workers are left."""
    scene.site.wait_for(lambda: scene.site.kill("submitit"), more=True)


def kill_everything(scene: Scene) -> None:
    """`kill -9` of all processes, as when a host loses power."""
    scene.at_work()
    scene.site.kill_everything()


def tear_tails(scene: Scene) -> None:
    """Half a line at the end of every file that is appended to."""
    kill_everything(scene)
    paths = scene.site.paths
    for path in [paths.study, *paths.folder.glob("trials/*/attempts/*/metrics.jsonl")]:
        with path.open("ab") as file:
            file.write(b'{"epoch":1,"metrics":{"val/sc')


def cut_checkpoints(scene: Scene) -> None:
    """The last checkpoint of every open trial truncated."""
    scene.site.wait_for(lambda: _last_checkpoints(scene.site), more=True)
    scene.site.kill_everything()
    for path in _last_checkpoints(scene.site):
        os.truncate(path, scene.chance.randrange(path.stat().st_size))


def wrong_clock(scene: Scene) -> None:
    """Another host resumes the sweep, with a clock that is an hour or a day wrong."""
    scene.at_work()
    shift = scene.chance.choice([-86400, -3600, 3600, 86400])
    scene.site.run(**{CLOCK: str(shift), "SWEEPS_HOST": "other"})


def two_hosts(scene: Scene) -> None:
    """`make sweep` run on two hosts at once."""
    scene.at_work()
    _both(scene, [*scene.site.run_arguments(), "--no-watch"], "SWEEPS_HOST")


def two_syncs(scene: Scene) -> None:
    """`sweeps sync` twice at once, while the job publishes, too."""
    scene.at_work()
    _both(scene, ["sync", scene.site.name], "NOTHING")


def two_watchers(scene: Scene) -> None:
    """Two `make sweep` that watch; both are ended by Ctrl-C."""
    scene.at_work()
    watchers = [scene.site.begin(*scene.site.run_arguments()) for _ in range(2)]
    time.sleep(scene.chance.uniform(3.0, 5.0))
    for watcher in watchers:
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=60)


def delete_trial(scene: Scene) -> None:
    """A trial's folder is removed, in any state of the trial."""
    scene.at_work()
    trial = scene.chance.choice(scene.site.paths.trials())
    scene.site.deleted.add(trial.number)
    while trial.folder.exists():  # a worker may be writing in it
        shutil.rmtree(trial.folder, ignore_errors=True)


def lock_database(scene: Scene) -> None:
    """Another process locks MLflow's database."""
    database = _database(scene)
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(SOME_SECONDS)
    connection.rollback()
    connection.close()


def read_only_store(scene: Scene) -> None:
    """MLflow's database is read-only; `sweeps sync` reports that in one line."""
    database = _database(scene)
    for command in (
        ["mount", "--bind", database, database],
        ["mount", "-o", "remount,ro,bind", database],
    ):
        subprocess.run(command, check=True)
    try:
        scene.site.command("sync", scene.site.name)
        time.sleep(SOME_SECONDS)
    finally:
        subprocess.run(["umount", "--lazy", database], check=True)


def _database(scene: Scene) -> Path:
    """Return MLflow's database once it exists and a trial is open."""
    database = scene.site.paths.runs.database
    scene.site.wait_for(database.exists, more=True)
    scene.at_work()
    return database


def _mode(mode: str) -> Callable[[Scene], None]:
    def change_mode(scene: Scene) -> None:
        scene.at_work()
        assert scene.line is not None
        before = scene.line.broken
        scene.line.become(mode)
        scene.site.wait_for(lambda: scene.line.broken > before, more=True)  # type: ignore[union-attr]
        time.sleep(SOME_SECONDS)
        scene.line.become("open")

    return change_mode


def away_to_the_end(scene: Scene) -> None:
    """The server stays unavailable until the sweep is over."""
    assert scene.line is not None
    scene.line.become("away")


ANYWHERE: dict[str, Callable[[Scene], None]] = {
    "kill -9 of the publisher": kill_publisher,
    "kill -9 of the watcher": kill_watcher,
    "kill -9 of the supervisor": kill_supervisor,
    "kill -9 of everything": kill_everything,
    "half a line in every file": tear_tails,
    "checkpoints cut short": cut_checkpoints,
    "two syncs at once": two_syncs,
    "two watchers": two_watchers,
    "a trial's folder deleted": delete_trial,
}
"""Faults that can happen in any sweep."""
IN_DATABASE: dict[str, Callable[[Scene], None]] = {
    "the database locked": lock_database,
    "the store read-only": read_only_store,
}
"""Faults of a store that is a database in the runs folder."""
AT_SERVER: dict[str, Callable[[Scene], None]] = {
    "the server away for a while": _mode("away"),
    "the server slow": _mode("slow"),
    "the server answers 500": _mode("error"),
    "the server away to the end": away_to_the_end,
}
"""Faults of a store that is a server."""
ELSEWHERE: dict[str, Callable[[Scene], None]] = {
    "two sweeps on two hosts": two_hosts,
    "clocks apart": wrong_clock,
}
"""Faults that leave processes which this host seems not to run: no other fault comes after."""
EVERY_FAULT = ANYWHERE | IN_DATABASE | AT_SERVER | ELSEWHERE
"""All external faults. Their order and names decide which scenarios a seed gives."""


def resume_stopped(site: Site, pid: int) -> None:
    """Continue a stopped process (SIGCONT) after the time in which its trial is taken over."""
    time.sleep(2 * CLAIM_SECONDS)
    if pid in set(processes(str(site.paths.folder))):
        os.kill(pid, signal.SIGCONT)


def _both(scene: Scene, arguments: list[str], variable: str) -> None:
    started = [scene.site.begin(*arguments, **{variable: name}) for name in ("one", "other")]
    for process in started:
        output, _ = process.communicate(timeout=120)
        if process.returncode or "Traceback" in output:
            scene.site.messages.append(output.strip())
        if "Traceback" in output:
            raise NoEndError(f"a command ended with a traceback: {output}")


def open_trials(site: Site) -> list[TrialPaths]:
    """Return the trials that have not ended."""
    if not site.paths.plan.exists():
        return []
    return [trial for trial in site.paths.trials() if not trial.settled.exists()]


def _last_checkpoints(site: Site) -> list[Path]:
    attempts = [trial.attempts()[-1] for trial in open_trials(site) if trial.attempts()]
    return [a.last_checkpoint for a in attempts if a.last_checkpoint.exists()]
