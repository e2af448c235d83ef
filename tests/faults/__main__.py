"""Faults at random and at every step, over real sweeps: `python -m tests.faults --faults 200`."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.acts import may_mount
from tests.faults.server import mlflow_server
from tests.faults.storms import MOUNTING, Storm, plan, weather


def main() -> int:
    """Run the storms; 0 if nothing was lost and nothing doubled."""
    given = _arguments()
    print(f"seed {given.seed}: the same seed gives the same faults", flush=True)
    left_out = set() if may_mount() else MOUNTING
    if left_out:
        print(f"no file system can be mounted here, so not tried: {', '.join(sorted(left_out))}")
    storms = plan(given.faults, given.seed, left_out)
    storms = [storm for storm in storms if not given.only or storm.number in given.only]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    started = time.monotonic()
    with mlflow_server(folder / "server") as port, ThreadPoolExecutor(given.at_once) as pool:
        list(pool.map(lambda storm: _one(storm, folder, port), storms))
    lost = [storm for storm in storms if storm.problems]
    _report(storms, time.monotonic() - started)
    if lost or given.keep:
        print(f"the folders are left in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if lost else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--at-once", type=int, default=2, help="sweeps side by side")
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of the storms to run")
    parser.add_argument("--keep", action="store_true", help="leave the sweeps' folders")
    return parser.parse_args()


def _one(storm: Storm, folder: Path, port: int) -> None:
    try:
        weather(storm, folder, port)
    except Exception as error:  # noqa: BLE001 (one storm ends no other)
        storm.said.append(f"{type(error).__name__}: {error}")
    state = "ok" if not storm.problems else "LOST"
    found = storm.verdict
    figures = f"{found.trials} trials, {found.epochs} epochs, {found.again} twice" if found else ""
    kinds = "; ".join(map(str, storm.faults))
    line = f"{state:4} storm {storm.number} ({storm.trainer}, {storm.where}), {storm.seconds:.0f} s"
    print(f"{line}, {figures}: {kinds}", flush=True)
    for problem in storm.problems + (storm.said if storm.problems else []):
        print(f"     {' '.join(problem.split())[:400]}", flush=True)


def _report(storms: list[Storm], seconds: float) -> None:
    fired = Counter(fault.name for storm in storms for fault in storm.fired)
    pairs = Counter((f.name, f.step) for storm in storms for f in storm.fired if f.step)
    bad = Counter(fault.name for storm in storms if storm.problems for fault in storm.faults)
    print(f"\n{'fault':36}{'happened':>9}{'least a step':>14}{'in a sweep that lost':>22}")
    for name in sorted(fired):
        steps = [count for (fault, _), count in pairs.items() if fault == name]
        least = str(min(steps)) if steps else "-"
        print(f"{name:36}{fired[name]:>9}{least:>14}{bad[name]:>22}")
    verdicts = [storm.verdict for storm in storms if storm.verdict]
    total = sum(fired.values())
    kept = sum(not storm.problems for storm in storms)
    print(
        f"\n{total} faults in {len(storms)} sweeps, {seconds / 60:.1f} min: {kept} sweeps whole; "
        f"{sum(v.trials for v in verdicts)} trials, {sum(v.epochs for v in verdicts)} epochs, "
        f"{sum(v.again for v in verdicts)} of them computed twice"
    )


if __name__ == "__main__":
    sys.exit(main())
