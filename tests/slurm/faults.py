"""Random faults of SLURM itself, in real sweeps: `python -m tests.slurm.faults --faults 40`.

Its daemons, its nodes and its jobs fail one after another while a sweep works; a simulated person
resumes the sweep where no job is left. At the end nothing may be lost, recorded twice, or left.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import SubprocessError

from tests.faults import external, sites
from tests.faults.checks import Outcome
from tests.faults.external import Scene
from tests.faults.scenarios import end_and_judge
from tests.faults.sites import NoEndError, Site
from tests.slurm.cluster import why_not
from tests.slurm.configuration import NODES
from tests.slurm.conftest import Testbed, running_testbed, wait_for
from tests.slurm.rules import RANGPUR

FAULTS_PER_SWEEP = 5
PATIENCE = 400.0
"""Seconds to wait for anything: SLURM may be asked twice a minute only."""
AWAY_SECONDS = (1.0, 8.0)
"""How long a daemon is away."""
CLUSTER = sites.ON_SLURM.replace('"comp3710"\naccount', '"slots"\naccount').replace(
    "max_running_jobs = 1", "max_running_jobs = 2"
)
SLOWER = sites.TINY.replace("seconds = 0.1", "seconds = 0.5")

SlurmFault = Callable[[Testbed, Scene], None]


def away(daemon: str) -> SlurmFault:
    """Return the fault that ends a daemon as a reboot does, and starts it some seconds later."""

    def fault(testbed: Testbed, scene: Scene) -> None:
        testbed.act("stop", daemon)
        time.sleep(scene.chance.uniform(*AWAY_SECONDS))
        testbed.act("start", daemon)

    return fault


def lose_state(testbed: Testbed, scene: Scene) -> None:
    """The controller forgets all jobs, and their numbers begin at 1 again."""
    testbed.act("wipe", "slurmctld")
    time.sleep(scene.chance.uniform(*AWAY_SECONDS))
    testbed.act("start", "slurmctld")
    wait_for(lambda: answers(testbed))  # without a state it cannot start while slurmdbd is away


def answers(testbed: Testbed) -> bool:
    try:
        return bool(testbed.call("sinfo", "-h"))
    except SubprocessError:
        return False


def lose_node(testbed: Testbed, scene: Scene) -> None:
    """A node loses power, and is back later."""
    node = scene.chance.choice(NODES)
    testbed.act("lose", node)
    time.sleep(scene.chance.uniform(*AWAY_SECONDS))
    testbed.act("start", f"slurmd-{node}")


def tell_a_running_job(*command: str) -> SlurmFault:
    """Return the fault that runs a command of SLURM on one of the jobs that run."""

    def fault(testbed: Testbed, scene: Scene) -> None:
        if running := testbed.running():
            with suppress(SubprocessError):  # it has ended meanwhile
                testbed.call(*command, scene.chance.choice(running))

    return fault


def without_slurm(fault: Callable[[Scene], None]) -> SlurmFault:
    """Return a fault of the sweep's own processes."""
    return lambda _testbed, scene: fault(scene)


FAULTS: dict[str, SlurmFault] = {
    "munge away for a while": away("munged"),
    "slurmdbd away for a while": away("slurmdbd"),
    "slurmctld away for a while": away("slurmctld"),
    "slurmctld's state lost": lose_state,
    "a node lost": lose_node,
    "a job cancelled": tell_a_running_job("scancel"),
    "a job requeued by hand": tell_a_running_job("scontrol", "requeue"),
    "kill -9 of a supervisor": without_slurm(external.kill_supervisor),
    "kill -9 of the publisher": without_slurm(external.kill_publisher),
}


def main() -> int:
    """Run the sweeps; return 0 if nothing was lost or recorded twice, otherwise 1."""
    if (reason := why_not()) is not None:
        sys.exit(f"error: {reason}")
    parser = argparse.ArgumentParser(prog="tests.slurm.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=40, help="how many faults in all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}: the same seed gives the same faults", flush=True)
    sites.PATIENCE = PATIENCE
    folder = Path(tempfile.mkdtemp(prefix="slurm-faults-"))
    happened: Counter[str] = Counter()
    failed = 0
    with running_testbed(RANGPUR) as testbed, administrated(testbed):
        os.environ.update(testbed.environment())
        for number, names in enumerate(planned(arguments.faults, arguments.seed), start=1):
            started = time.monotonic()
            fired, outcome, messages = run_sweep(testbed, folder, number, names, arguments.seed)
            happened.update(fired)
            failed += bool(messages)
            state = "LOST" if messages else "ok"
            seconds = time.monotonic() - started
            print(f"{state:4} sweep {number}, {seconds:.0f} s, {outcome}: {'; '.join(names)}")
            for message in messages:
                print(f"     {' '.join(message.split())[:600]}")
            sys.stdout.flush()
    for name, count in sorted(happened.items()):
        print(f"{name:36}{count:>4}")
    print(f"{happened.total()} faults in {number} sweeps: {number - failed} sweeps complete")
    if failed:
        print(f"the folders of the sweeps are kept in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def planned(count: int, seed: int) -> Iterator[list[str]]:
    """Yield the faults of each sweep: every one equally often, in a random order."""
    names = [name for _ in range(-(-count // len(FAULTS))) for name in FAULTS][:count]
    random.Random(seed).shuffle(names)
    for first in range(0, count, FAULTS_PER_SWEEP):
        yield names[first : first + FAULTS_PER_SWEEP]


def run_sweep(
    testbed: Testbed, folder: Path, number: int, names: list[str], seed: int
) -> tuple[list[str], str, list[str]]:
    """Run a sweep with its faults to its end.

    Returns:
        The faults that happened, the numbers of the sweep, and what is wrong.
    """
    site = Site(folder / f"sweep-{number}", f"sweep-{number}", SLOWER, cluster=CLUSTER)
    scene = Scene(site, None, random.Random(f"{seed} {number}"))
    fired: list[str] = []
    outcome: Outcome | None = None
    try:
        site.run()
        for name in names:
            scene.at_work()
            FAULTS[name](testbed, scene)
            fired.append(name)
        outcome = end_and_judge(scene)
    except Exception as error:  # noqa: BLE001 (an error in one sweep must not end the others)
        what = str(error) if isinstance(error, NoEndError) else f"{type(error).__name__}: {error}"
        queue = "; ".join(" ".join(job) for job in testbed.queue())
        return fired, "it did not end", [what, f"the queue: {queue}", *site.messages]
    finally:
        for job in testbed.queue():
            with suppress(SubprocessError):
                testbed.call("scancel", job[0])
        site.close()
    numbers = f"{outcome.trials} trials, {outcome.epochs} epochs, {outcome.again} twice"
    return fired, numbers, [*outcome.problems, *(site.messages if outcome.problems else [])]


@contextmanager
def administrated(testbed: Testbed) -> Iterator[None]:
    """Do what an administrator does meanwhile: drained nodes are resumed, and jobs wait less.

    After the controller lost its state, a new job can get the number of one that still runs. Its
    node then drains ("Duplicate jobid"), and SLURM waits for a person. A requeued job starts after
    seconds instead of two minutes.
    """
    done = threading.Event()

    def look_after() -> None:
        while not done.wait(1.0):
            with suppress(SubprocessError):  # a daemon is away
                testbed.shorten_requeue_delay()
                resume_drained_nodes(testbed)

    thread = threading.Thread(target=look_after)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def resume_drained_nodes(testbed: Testbed) -> None:
    for node in set(testbed.call("sinfo", "-h", "-N", "-o%N", "--states=drained").split()):
        testbed.call("scontrol", "update", f"nodename={node}", "state=resume")


if __name__ == "__main__":
    sys.exit(main())
