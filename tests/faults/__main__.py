"""Random faults and faults at every step, in real sweeps: `python -m tests.faults --faults 200`."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.inside import may_mount
from tests.faults.scenarios import MOUNTING, Scenario, plan, run_scenario
from tests.faults.server import mlflow_server


def main() -> int:
    """Run the scenarios; return 0 if nothing was lost or recorded twice, otherwise 1."""
    arguments = _arguments()
    print(f"seed {arguments.seed}: the same seed gives the same faults", flush=True)
    left_out = set() if may_mount() else MOUNTING
    if left_out:
        print(f"not tested, since nothing can be mounted here: {', '.join(sorted(left_out))}")
    scenarios = plan(arguments.faults, arguments.seed, left_out)
    only = arguments.only
    scenarios = [scenario for scenario in scenarios if not only or scenario.number in only]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    started = time.monotonic()
    with mlflow_server(folder / "server") as port, ThreadPoolExecutor(arguments.at_once) as pool:
        list(pool.map(lambda scenario: _run_one(scenario, folder, port), scenarios))
    failed = [scenario for scenario in scenarios if scenario.problems]
    _report(scenarios, time.monotonic() - started)
    if failed or arguments.keep:
        print(f"the folders of the sweeps are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="how many faults in all")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10**6),
        help="decides which faults happen; a random one by default",
    )
    parser.add_argument("--at-once", type=int, default=2, help="sweeps that run at the same time")
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of the scenarios to run")
    parser.add_argument("--keep", action="store_true", help="do not remove the sweeps' folders")
    return parser.parse_args()


def _run_one(scenario: Scenario, folder: Path, port: int) -> None:
    try:
        run_scenario(scenario, folder, port)
    except Exception as error:  # noqa: BLE001 (an error in one scenario must not end the others)
        scenario.messages.append(f"{type(error).__name__}: {error}")
    state = "ok" if not scenario.problems else "LOST"
    found = scenario.outcome
    numbers = f"{found.trials} trials, {found.epochs} epochs, {found.again} twice" if found else ""
    faults = "; ".join(map(str, scenario.faults))
    where = f"{scenario.trainer}, {scenario.where}"
    line = f"{state:4} scenario {scenario.number} ({where}), {scenario.seconds:.0f} s"
    print(f"{line}, {numbers}: {faults}", flush=True)
    for problem in scenario.problems + (scenario.messages if scenario.problems else []):
        print(f"     {' '.join(problem.split())[:400]}", flush=True)


def _report(scenarios: list[Scenario], seconds: float) -> None:
    fired = Counter(fault.name for scenario in scenarios for fault in scenario.fired)
    pairs = Counter((f.name, f.step) for scenario in scenarios for f in scenario.fired if f.step)
    bad = Counter(
        fault.name for scenario in scenarios if scenario.problems for fault in scenario.faults
    )
    print(f"\n{'fault':36}{'happened':>9}{'least per step':>15}{'in failed sweeps':>22}")
    for name in sorted(fired):
        steps = [count for (fault, _), count in pairs.items() if fault == name]
        least = str(min(steps)) if steps else "-"
        print(f"{name:36}{fired[name]:>9}{least:>15}{bad[name]:>22}")
    outcomes = [scenario.outcome for scenario in scenarios if scenario.outcome]
    total = sum(fired.values())
    complete = sum(not scenario.problems for scenario in scenarios)
    print(
        f"\n{total} faults in {len(scenarios)} sweeps, {seconds / 60:.1f} min: "
        f"{complete} sweeps complete; "
        f"{sum(v.trials for v in outcomes)} trials, {sum(v.epochs for v in outcomes)} epochs, "
        f"{sum(v.again for v in outcomes)} of them computed twice"
    )


if __name__ == "__main__":
    sys.exit(main())
