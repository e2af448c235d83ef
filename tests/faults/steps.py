"""The steps of the record at which faults are injected, found in the real commands from outside.

A sweep under test names one of the trainers in `tests/faults/injector.py`. Whatever imports it
(each worker, each publisher, each `sweeps run`) is prepared by that: the functions that make a
step are replaced by ones that look for a scheduled fault before, in the middle of and after it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.inside import DEADLY, FAULTS_INSIDE
from tests.faults.schedule import schedule_here

STEPS = ("metrics append", "checkpoint", "rename", "ask", "report", "tell", "claim", "publication")
"""Every step by name. In the middle of one is: of an append, half a line is written (by a process
that dies there; by any other, none of it); of a checkpoint, half the file; of the renaming, one of
its names is given; of an ask, the study has the trial and there is no folder; of a claim, its
folder is there and it is not; of a publication, MLflow has been told and the folder does not say
so."""
PHASES = ("before", "middle", "after")
CLOCK = "FAULTS_CLOCK"
"""The environment variable that says by how many seconds a process's clock is wrong."""


class Injector:
    """The steps of one process."""

    def __init__(self) -> None:
        """Under the orders of the environment."""
        self._schedule = schedule_here()
        self._within: list[str] = []

    def reach(self, step: str, phase: str, at_death: Callable[[], object] = lambda: None) -> None:
        """Carry out the order for this point, if there is one.

        Args:
            step: where this is.
            phase: where in it.
            at_death: what else is done first where the process does not live on: a system's call
                is done or not done for a process that stands still, never half.
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
        """A step with its points before and after; in its middle `within` knows of it."""
        self.reach(name, "before")
        self._within.append(name)
        try:
            yield
        finally:
            self._within.pop()
        self.reach(name, "after")

    def within(self, *names: str) -> str | None:
        """Which of these steps this process is in the middle of."""
        return next((name for name in reversed(self._within) if name in names), None)

    def wrap(self, owner: Any, function: str, step: str) -> None:
        """Make a function of `owner` a step."""
        original = getattr(owner, function)

        def call(*given: Any, **named: Any) -> Any:
            with self.step(step):
                return original(*given, **named)

        setattr(owner, function, call)

    def halve(self, atomic: Any) -> None:
        """Have an append stand still when half of it is written, where the schedule says so."""
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
        """The same for a checkpoint's content, and for its names: `last.pt` and `best.pt`."""
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
        """Make `owner.save` the steps of a checkpoint and of its renaming."""
        original = owner.save

        def save(*given: Any, **named: Any) -> Any:
            self._renamed.clear()
            with self.step("checkpoint"):
                original(*given, **named)
            self.reach("rename", "after")

        owner.save = save

    def _halve(self, draft: Path) -> None:
        if self._schedule is None:
            return
        content = draft.read_bytes()
        self.reach("checkpoint", "middle", lambda: os.truncate(draft, len(content) // 2))
        draft.write_bytes(content)  # where the disk is full by now, this is what finds out


def inject() -> Injector:
    """Replace the functions of this process that make the steps of a sweep."""
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
    """The same for the steps of a publication, in a process that has MLflow already."""
    from sweeps.tracking import publisher

    injector.wrap(publisher.Publisher, "publish", "publication")
    _in_the_middle(publisher, "_write", lambda *_: injector.reach("publication", "middle"))


def shift_clock() -> None:
    """Have this process's clock be as wrong as the environment says."""
    import time

    off = float(os.environ.get(CLOCK, "0"))
    if off:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + off
        time.time_ns = lambda: now_ns() + int(off * 1e9)


def _claiming(injector: Injector, path: Path) -> None:
    if path.name == "claim.json" and injector.within("claim"):
        injector.reach("claim", "middle")


def _in_the_middle(owner: Any, function: str, act: Callable[..., object]) -> None:
    original = getattr(owner, function)

    def call(*given: Any, **named: Any) -> Any:
        act(*given)
        return original(*given, **named)

    setattr(owner, function, call)
