"""Scenarios: sweeps that meet several faults one after another, planned from a seed."""

import os
import random
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.storage.trial_record import claim_owner
from tests.faults import external, sites
from tests.faults.checks import Outcome, judge
from tests.faults.inside import FAULTS_INSIDE
from tests.faults.schedule import ScheduledFault
from tests.faults.server import Line
from tests.faults.sites import NoEndError, Site
from tests.faults.steps import PHASES, STEPS

FAULTS_A_STORM = 6
DISK_FAULTS = {"the disk full"}
MOUNTING = {*DISK_FAULTS, "the store read-only"}
"""Faults for which a file system is mounted."""
NUDGE_SECONDS = 4.0
"""After so long an order for a claim is helped along: an orphan is made, by `kill -9`."""
FULL_SECONDS = 1.5
"""How long a disk stays full."""


@dataclass(frozen=True)
class Fault:
    """One fault of the plan: its name, and the step and the phase where it is bound to one."""

    name: str
    step: str = ""
    phase: str = ""

    @property
    def where(self) -> str:
        """Which store or disk the sweep must have for it; empty for any."""
        if self.name in external.AT_SERVER:
            return "server"
        if self.name in DISK_FAULTS:
            return "small disk"
        return "database" if self.name in external.IN_DATABASE else ""

    def __str__(self) -> str:
        return f"{self.name} {self.phase} {self.step}".strip()


@dataclass
class Scenario:
    """A sweep, and what it is to meet."""

    number: int
    faults: list[Fault]
    trainer: str
    where: str
    seed: int
    fired: list[Fault] = field(default_factory=list)
    outcome: Outcome | None = None
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What was lost or doubled, and what did not happen."""
        found = self.outcome.problems if self.outcome else ["it did not end"]
        return [*found, *(f"did not happen: {f}" for f in self.faults if f not in self.fired)]


def every_fault(without: Collection[str] = ()) -> list[Fault]:
    """Each pair of fault and step in each phase, and each fault from outside three times."""
    bound = [
        Fault(name, step, phase) for name in FAULTS_INSIDE for step in STEPS for phase in PHASES
    ]
    return [fault for fault in bound + 3 * _loose() if fault.name not in without]


def plan(count: int, seed: int, without: Collection[str] = ()) -> list[Scenario]:
    """Scenarios of `count` faults in all: every fault as often as is due, the rest by chance."""
    chance = random.Random(seed)
    due = every_fault(without)
    chance.shuffle(due)
    more = [chance.choice(due) for _ in range(max(0, count - len(due)))]
    chosen = (due + more)[:count]
    scenarios: list[Scenario] = []
    for where in ("database", "server", "small disk"):
        # What can happen anywhere goes to each kind of store by chance.
        mine = [f for f in chosen if (f.where or _home(f, seed)) == where]
        for group in _groups(mine):
            trainer = "vqvae" if where != "small disk" and chance.random() < 0.12 else "tiny"
            scenarios.append(Scenario(0, group, trainer, where, chance.randrange(2**31)))
    chance.shuffle(scenarios)
    for number, scenario in enumerate(scenarios, start=1):
        scenario.number = number
    return scenarios


def run_scenario(
    scenario: Scenario, folder: Path, server: int = 0, cluster: str = sites.HERE
) -> None:
    """Run a scenario's sweep to its end through all its faults, and judge it.

    Args:
        scenario: what is to happen; what did is written into it.
        folder: where the sweep's folder is made.
        server: the port of an MLflow server, for a scenario that has one.
        cluster: the cluster file of where its jobs run.
    """
    started = time.monotonic()
    line = Line(server) if scenario.where == "server" else None
    site = Site(
        folder / f"scenario-{scenario.number}",
        f"scenario-{scenario.number}",
        sites.VQVAE if scenario.trainer == "vqvae" else sites.TINY,
        line.uri if line else None,
        small_disk=scenario.where == "small disk",
        cluster=cluster,
    )
    try:
        _meet(scenario, external.Scene(site, line, random.Random(scenario.seed)))
    except NoEndError as error:
        scenario.said.append(str(error))
    finally:
        scenario.said += site.said
        scenario.seconds = time.monotonic() - started
        site.close()
        if line is not None:
            line.close()


def _meet(scenario: Scenario, scene: external.Scene) -> None:
    scene.site.run()
    for at, fault in enumerate(scenario.faults):
        _let_happen(scene, fault, f"{at:02d}")
        scenario.fired.append(fault)
    scenario.outcome = _end(scene)


def _let_happen(scene: external.Scene, fault: Fault, name: str) -> None:
    if not fault.step:
        acts = external.ANYWHERE | external.IN_DATABASE | external.AT_SERVER | external.ELSEWHERE
        acts[fault.name](scene)
        return
    site = scene.site
    rare = {"claim", "publication"}
    times = 1 if fault.step in rare else scene.chance.choice([1, 1, 2])
    scheduled = ScheduledFault(name, fault.name, fault.step, fault.phase, times)
    site.schedule.give(scheduled)
    began = time.monotonic()

    def has_fired() -> bool:
        nonlocal began
        due = fault.step == "claim" and time.monotonic() - began > NUDGE_SECONDS
        if due and _make_an_orphan(scene):
            began = time.monotonic()
        return site.schedule.fired(scheduled) is not None

    try:
        site.wait_for(has_fired, more=True)
    except NoEndError:
        raise NoEndError(f"{fault} was never reached") from None
    found = site.schedule.fired(scheduled)
    if found is not None and "frozen" in fault.name:
        external.resume_stopped(site, found["pid"])
    if fault.name in DISK_FAULTS:
        time.sleep(FULL_SECONDS)
        site.make_room()


def _make_an_orphan(scene: external.Scene) -> bool:
    """`kill -9` of one worker that has a trial, if one has: the next to look claims it."""
    owners = {claim_owner(trial.attempts()[-1]).pid for trial in external.open_trials(scene.site)}
    workers = sorted(owners & set(scene.site.processes("sweeps work")))
    if workers:
        with suppress(ProcessLookupError):
            os.kill(scene.chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def _end(scene: external.Scene) -> Outcome:
    """Let the sweep end, send MLflow what is missing, and look at everything."""
    site, line = scene.site, scene.line
    site.wait_for(site.is_over)
    if line is not None:
        line.become("open")
    give_up = time.monotonic() + sites.PATIENCE
    while site.processes() and time.monotonic() < give_up:
        time.sleep(0.2)
    if site.command("sync", site.name) and site.command("sync", site.name):
        raise NoEndError(f"sync: {site.said[-1]}")
    database = site.paths.runs.database
    return judge(site, line.uri if line else f"sqlite:///{database}")


def _loose() -> list[Fault]:
    kinds = external.ANYWHERE | external.IN_DATABASE | external.AT_SERVER | external.ELSEWHERE
    return [Fault(name) for name in kinds]


def _home(fault: Fault, seed: int) -> str:
    return random.Random(f"{fault}{seed}").choice(["database", "database", "server"])


def _groups(faults: list[Fault]) -> Iterator[list[Fault]]:
    """So many faults a scenario; one that must come last comes last, and alone of its kind."""
    last = [f for f in faults if f.name in external.ELSEWHERE or "to the end" in f.name]
    rest = [f for f in faults if f not in last]
    while rest or last:
        group, rest = rest[: FAULTS_A_STORM - 1], rest[FAULTS_A_STORM - 1 :]
        if last:
            group.append(last.pop())
        elif rest:
            group.append(rest.pop(0))
        yield group
