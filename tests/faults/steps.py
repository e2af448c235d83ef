"""The steps of the record at which faults are injected, without changes to the program.

A sweep under test names one of the trainers in `tests/faults/injector.py`. The import prepares each
process (workers, publishers, `sweeps run`): the functions of each step are replaced by functions
that look for a scheduled fault before, in the middle of and after the step.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.inside import DEADLY, FAULTS_INSIDE
from tests.faults.schedule import schedule_here

STEPS = ("metrics append", "checkpoint", "rename", "ask", "report", "tell", "claim", "publication")
"""Every step by name. What "in the middle" means:

- of an append: half a line is written if the process dies there, otherwise nothing;
- of a checkpoint: half the file is written; of a rename: one of its two names is given;
- of an ask: the study has the trial, and there is no folder;
- of a claim: the folder exists, and the claim does not;
- of a publication: MLflow has it, and the folder has no record of that.
"""
PHASES = ("before", "middle", "after")
CLOCK = "FAULTS_CLOCK"
"""The environment variable with the number of seconds by which a process's clock is wrong."""


class Injector:
    """The steps of one process."""

    def __init__(self) -> None:
        """Use the schedule that the environment names."""
        self._schedule = schedule_here()
        self._within: list[str] = []

    def reach(self, step: str, phase: str, at_death: Callable[[], object] = lambda: None) -> None:
        """Carry out the scheduled fault for this point, if there is one.

        Args:
            step: the step.
            phase: the phase of the step.
            at_death: called before a fault that ends the process. A stopped process does not need
                it: its system call is complete or not begun, never half done.
        """
        if (
            self._schedule is not None
            and (scheduled := self._schedule.take(step, phase)) is not None
        ):
            if scheduled.fault in DEADLY:
                at_death()
            FAULTS_INSIDE[scheduled.fault](scheduled)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Enclose a step: the points before and after it; `within` returns its name meanwhile."""
        self.reach(name, "before")
        self._within.append(name)
        try:
            yield
        finally:
            self._within.pop()
        self.reach(name, "after")

    def within(self, *names: str) -> str | None:
        """Return which of these steps this process is in the middle of, if any."""
        return next((name for name in reversed(self._within) if name in names), None)

    def wrap(self, owner: Any, function: str, step: str) -> None:
        """Make a function of `owner` a step."""
        original = getattr(owner, function)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.step(step):
                return original(*args, **kwargs)

        setattr(owner, function, call)

    def halve(self, atomic: Any) -> None:
        """Add the middle of an append: half of it is written if the process dies there."""
        original = atomic.write_all

        def write_all(handle: int, content: bytes, offset: int, *, sync: bool = True) -> int:
            name = Path(f"/proc/self/fd/{handle}").readlink().name
            step = self.within("metrics append", "report", "tell")
            if step is not None and name in {"metrics.jsonl", "study.jsonl"}:
                half = content[: len(content) // 2]
                self.reach(step, "middle", lambda: os.pwrite(handle, half, offset))
            return original(handle, content, offset, sync=sync)

        atomic.write_all = write_all

    def halve_checkpoints(self) -> None:
        """Add the middle of a checkpoint, and of its rename to `last.pt` and `best.pt`."""
        original = Path.replace

        def replace(path: Path, target: Path) -> Path:
            step = self.within("checkpoint")
            if step is None or Path(target).name not in {"last.pt", "best.pt"}:
                return original(path, target)
            renamed.append(str(target))
            if len(renamed) == 1:
                self._halve(path)
                self.reach("rename", "before")
            else:
                self.reach("rename", "middle")
            return original(path, target)

        renamed: list[str] = []
        self._renamed = renamed
        Path.replace = replace  # type: ignore[method-assign]

    def wrap_save(self, owner: Any) -> None:
        """Make `owner.save` the steps of a checkpoint and of its rename."""
        original = owner.save

        def save(*args: Any, **kwargs: Any) -> Any:
            self._renamed.clear()
            with self.step("checkpoint"):
                original(*args, **kwargs)
            self.reach("rename", "after")

        owner.save = save

    def _halve(self, draft: Path) -> None:
        if self._schedule is None:
            return
        content = draft.read_bytes()
        self.reach("checkpoint", "middle", lambda: os.truncate(draft, len(content) // 2))
        draft.write_bytes(content)  # fails if the fault has filled the disk


def inject() -> Injector:
    """Replace the functions of this process that are the steps of a sweep."""
    from sweeps.filesystem import atomic
    from sweeps.search import study
    from sweeps.workers import claims, propose, trial, worker

    injector = Injector()
    injector.halve(atomic)
    injector.halve_checkpoints()
    injector.wrap(trial, "append_row", "metrics append")
    injector.wrap(study.Study, "report", "report")
    injector.wrap(study.Study, "tell", "tell")
    injector.wrap(propose.Proposer, "propose", "ask")
    _in_the_middle(propose.Proposer, "_make_folder", lambda *_: injector.reach("ask", "middle"))
    injector.wrap(worker, "claim_after", "claim")
    _in_the_middle(claims.atomic, "create", lambda path, *_: _claiming(injector, path))
    return injector


def inject_into_publisher(injector: Injector) -> None:
    """Replace the functions that are the steps of a publication, in a publisher's process."""
    from sweeps.tracking import publisher

    injector.wrap(publisher.Publisher, "publish", "publication")
    _in_the_middle(publisher, "_write", lambda *_: injector.reach("publication", "middle"))


def shift_clock() -> None:
    """Shift this process's clock by the number of seconds in the environment."""
    import time

    shift = float(os.environ.get(CLOCK, "0"))
    if shift:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + shift
        time.time_ns = lambda: now_ns() + int(shift * 1e9)


def _claiming(injector: Injector, path: Path) -> None:
    if path.name == "claim.json" and injector.within("claim"):
        injector.reach("claim", "middle")


def _in_the_middle(owner: Any, function: str, action: Callable[..., object]) -> None:
    original = getattr(owner, function)

    def call(*args: Any, **kwargs: Any) -> Any:
        action(*args)
        return original(*args, **kwargs)

    setattr(owner, function, call)
