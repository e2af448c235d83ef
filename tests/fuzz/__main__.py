"""`python -m tests.fuzz`: run generated inputs through the entry points, and count the results."""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz import material
from tests.fuzz.case import Case
from tests.fuzz.drive import attempt
from tests.fuzz.kinds import cases


class Counts:
    """The results of the inputs, by kind."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.broken: dict[str, tuple[Case, str]] = {}
        self.number_broken = 0

    def add(self, case: Case, shared: Path, *, process: bool) -> None:
        """Run one input, and count its result."""
        try:
            answer = attempt(case, shared, process=process)
        except Exception as error:  # noqa: BLE001 (counted and shown; the other inputs still run)
            self.number_broken += 1
            message = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            self.broken.setdefault(f"{case.kind}: {message[:90]}", (case, message))
            return
        (self.refused if answer.status else self.done)[case.kind] += 1

    @property
    def total(self) -> int:
        return self.done.total() + self.refused.total() + self.number_broken


def fuzz(number: int, first_seed: int, shared: Path, *, process: bool) -> Counts:
    """Run `number` generated inputs."""
    counts, current_seed = Counts(), first_seed
    while counts.total < number:  # Hypothesis stops early if inputs repeat: go on with a new seed

        @seed(current_seed)
        @settings(
            max_examples=number - counts.total,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def run(case: Case) -> None:
            counts.add(case, shared, process=process)

        run()
        current_seed += 1
    return counts


def show(counts: Counts, what: str, seconds: float) -> None:
    kinds = sorted({*counts.done, *counts.refused})
    print(f"{what}: {counts.total} in {seconds:.0f} s")
    for kind in kinds:
        print(f"  {kind:28} {counts.done[kind]:6} done {counts.refused[kind]:6} refused")
    done, refused = counts.done.total(), counts.refused.total()
    print(f"  {'all':28} {done:6} done {refused:6} refused {counts.number_broken:6} broken")
    for case, message in counts.broken.values():
        files = {name: content and content[:200] for name, content in case.files.items()}
        where = f"in {case.folder!r}, {case.encoding}, {case.columns} columns"
        line = f"{case.program} {case.arguments}"
        print(f"\nBROKEN ({case.kind}) {line} {where}\n  {files}\n  {message!a}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs in one process")
    parser.add_argument("--processes", type=int, default=100, help="inputs in a process each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    broken = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        material.make(Path(name))
        for what, number, process in (
            ("inputs in one process", options.inputs, False),
            ("inputs in a process each", options.processes, True),
        ):
            started = time.monotonic()
            counts = fuzz(number, options.seed, Path(name), process=process)
            show(counts, what, time.monotonic() - started)
            broken += counts.number_broken
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
