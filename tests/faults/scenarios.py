"""Scenarios: sweeps in which several faults happen one after another, planned from a seed."""

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

FAULTS_PER_SCENARIO = 6
DISK_FAULTS = {"the disk full"}
MOUNTING = {*DISK_FAULTS, "the store read-only"}
"""Faults that need a mounted file system."""
ORPHAN_AFTER_SECONDS = 4.0
"""Seconds after which a fault at a claim gets an orphan to claim: a worker gets `kill -9`."""
FULL_SECONDS = 1.5
"""How long a disk stays full."""


@dataclass(frozen=True)
class Fault:
    """One fault of the plan: its name, and its step and phase if it happens at a step."""

    name: str
    step: str = ""
    phase: str = ""

    @property
    def where(self) -> str:
        """The store or disk that the sweep must have for it; empty for any."""
        if self.name in external.AT_SERVER:
            return "server"
        if self.name in DISK_FAULTS:
            return "small disk"
        return "database" if self.name in external.IN_DATABASE else ""

    def __str__(self) -> str:
        return f"{self.name} {self.phase} {self.step}".strip()


@dataclass
class Scenario:
    """A sweep, and the faults that happen in it."""

    number: int
    faults: list[Fault]
    trainer: str
    where: str
    seed: int
    fired: list[Fault] = field(default_factory=list)
    outcome: Outcome | None = None
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What was lost or recorded twice, and which faults did not happen."""
        found = self.outcome.problems if self.outcome else ["the sweep did not end"]
        return [*found, *(f"did not happen: {f}" for f in self.faults if f not in self.fired)]


def every_fault(without: Collection[str] = ()) -> list[Fault]:
    """Return each fault at each step in each phase, and each external fault three times."""
    at_steps = [
        Fault(name, step, phase) for name in FAULTS_INSIDE for step in STEPS for phase in PHASES
    ]
    return [fault for fault in at_steps + 3 * _external() if fault.name not in without]


def plan(count: int, seed: int, without: Collection[str] = ()) -> list[Scenario]:
    """Return scenarios with `count` faults in all: first every fault, then random ones."""
    chance = random.Random(seed)
    due = every_fault(without)
    chance.shuffle(due)
    more = [chance.choice(due) for _ in range(max(0, count - len(due)))]
    chosen = (due + more)[:count]
    scenarios: list[Scenario] = []
    for where in ("database", "server", "small disk"):
        # A fault that can happen with any store gets a random one.
        matching = [f for f in chosen if (f.where or _random_store(f, seed)) == where]
        for group in _groups(matching):
            trainer = "vqvae" if where != "small disk" and chance.random() < 0.12 else "tiny"
            scenarios.append(Scenario(0, group, trainer, where, chance.randrange(2**31)))
    chance.shuffle(scenarios)
    for number, scenario in enumerate(scenarios, start=1):
        scenario.number = number
    return scenarios


def run_scenario(
    scenario: Scenario, folder: Path, server: int = 0, cluster: str = sites.HERE
) -> None:
    """Run a scenario's sweep with all its faults to its end, and check the result.

    Args:
        scenario: the faults; what happened is written into it.
        folder: where the sweep's folder is created.
        server: the port of an MLflow server, for a scenario with a server.
        cluster: the content of the cluster file.
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
        _run_faults(scenario, external.Scene(site, line, random.Random(scenario.seed)))
    except NoEndError as error:
        scenario.messages.append(str(error))
    finally:
        scenario.messages += site.messages
        scenario.seconds = time.monotonic() - started
        site.close()
        if line is not None:
            line.close()


def _run_faults(scenario: Scenario, scene: external.Scene) -> None:
    scene.site.run()
    for index, fault in enumerate(scenario.faults):
        _inject(scene, fault, f"{index:02d}")
        scenario.fired.append(fault)
    scenario.outcome = end_and_judge(scene)


def _inject(scene: external.Scene, fault: Fault, name: str) -> None:
    if not fault.step:
        external.EVERY_FAULT[fault.name](scene)
        return
    site = scene.site
    rare = {"claim", "publication"}
    times = 1 if fault.step in rare else scene.chance.choice([1, 1, 2])
    scheduled = ScheduledFault(name, fault.name, fault.step, fault.phase, times)
    site.schedule.give(scheduled)
    since = time.monotonic()

    def has_fired() -> bool:
        nonlocal since
        due = fault.step == "claim" and time.monotonic() - since > ORPHAN_AFTER_SECONDS
        if due and _make_orphan(scene):
            since = time.monotonic()
        return site.schedule.fired(scheduled) is not None

    try:
        site.wait_for(has_fired, more=True)
    except NoEndError:
        raise NoEndError(f"{fault}: no process reached this step") from None
    found = site.schedule.fired(scheduled)
    if found is not None and "frozen" in fault.name:
        external.resume_stopped(site, found["pid"])
    if fault.name in DISK_FAULTS:
        time.sleep(FULL_SECONDS)
        site.free_disk()


def _make_orphan(scene: external.Scene) -> bool:
    """Send `kill -9` to a worker that has a trial, if there is one; another worker claims it."""
    owners = {claim_owner(trial.attempts()[-1]).pid for trial in external.open_trials(scene.site)}
    workers = sorted(owners & set(scene.site.processes("sweeps work")))
    if workers:
        with suppress(ProcessLookupError):
            os.kill(scene.chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def end_and_judge(scene: external.Scene) -> Outcome:
    """Let the sweep end, publish what is missing, and check everything."""
    site, line = scene.site, scene.line
    site.wait_for(site.is_over)
    if line is not None:
        line.become("open")
    give_up = time.monotonic() + sites.PATIENCE
    while site.processes() and time.monotonic() < give_up:
        time.sleep(0.2)
    if site.command("sync", site.name) and site.command("sync", site.name):
        raise NoEndError(f"sync: {site.messages[-1]}")
    database = site.paths.runs.database
    return judge(site, line.uri if line else f"sqlite:///{database}")


def _external() -> list[Fault]:
    return [Fault(name) for name in external.EVERY_FAULT]


def _random_store(fault: Fault, seed: int) -> str:
    """Depends on the text of the fault: with another name, a seed gives other scenarios."""
    return random.Random(f"{fault}{seed}").choice(["database", "database", "server"])


def _groups(faults: list[Fault]) -> Iterator[list[Fault]]:
    """Yield groups of faults, one per scenario; each has at most one that must come last."""
    last = [f for f in faults if f.name in external.ELSEWHERE or "to the end" in f.name]
    rest = [f for f in faults if f not in last]
    while rest or last:
        group, rest = rest[: FAULTS_PER_SCENARIO - 1], rest[FAULTS_PER_SCENARIO - 1 :]
        if last:
            group.append(last.pop())
        elif rest:
            group.append(rest.pop(0))
        yield group
