"""A worker that is killed, as by `kill -9`, at one step of its work: run as a process of its own.

`python -m tests.sweeps.crashing STEP TIMES FOLDER` runs a worker on the sweep in FOLDER and kills
it when STEP is reached for the TIMES-th time.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.filesystem import atomic
from sweeps.search import journal, study
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import open_sweep
from sweeps.workers import propose, trial, worker
from tests.sweeps import tiny
from tests.sweeps.conftest import worker_of

CREATE_TRIAL = 4
"""Optuna's number for a journal entry that makes a trial."""


class Fuse:
    """Kills this process when it was lit for the given time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            kill()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, fuse: Fuse) -> None:
    original = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        fuse.burn()
        return original(*given, **named)

    setattr(owner, name, call)


def after(
    owner: Any, name: str, fuse: Fuse, when: Callable[[Any, Any], bool] = lambda *_: True
) -> None:
    original = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        answer = original(*given, **named)
        if when(answer, given):
            fuse.burn()
        return answer

    setattr(owner, name, call)


def half(owner: Any, name: str, fuse: Fuse, where: Callable[[str], bool]) -> None:
    """Have a write to a file end half way."""
    original = getattr(owner, name)

    def call(handle: int, content: bytes, offset: int, *, sync: bool = True) -> int:
        if where(Path(f"/proc/self/fd/{handle}").readlink().name):
            fuse.left -= 1
            if fuse.left == 0:
                os.pwrite(handle, content[: len(content) // 2], offset)
                os.fsync(handle)
                kill()
        return original(handle, content, offset, sync=sync)

    setattr(owner, name, call)


def half_checkpoint(fuse: Fuse) -> None:
    original = tiny.save

    def save(folder: Path, state: float, row: tiny.Row) -> None:
        fuse.left -= 1
        if fuse.left == 0:
            (folder / ".last.pt.0").write_text(json.dumps({"state": state})[:5])
            kill()
        original(folder, state, row)

    tiny.save = save


def makes_trial(_: Any, given: tuple[Any, ...]) -> bool:
    return any(entry["op_code"] == CREATE_TRIAL for entry in given[1])


STEPS: dict[str, Callable[[Fuse], None]] = {
    "in an ask, the trial just made": lambda f: after(
        journal.Journal, "append_logs", f, makes_trial
    ),
    "in an ask, before the folder": lambda f: before(propose.Proposer, "_make_folder", f),
    "in an ask, the folder half made": lambda f: before(propose, "claim_text", f),
    "in an ask, the folder just made": lambda f: after(propose.Proposer, "_make_folder", f),
    "half a line of the journal": lambda f: half(
        atomic, "write_all", f, lambda name: name == "study.jsonl"
    ),
    "in the middle of a checkpoint": half_checkpoint,
    "between checkpoint and row": lambda f: before(trial, "append_row", f),
    "half a row": lambda f: half(atomic, "write_all", f, lambda name: name == "metrics.jsonl"),
    "between row and study": lambda f: before(study.Study, "report", f),
    "between study and verdict": lambda f: before(study.Study, "should_prune", f),
    "after a verdict to prune": lambda f: after(
        study.Study, "should_prune", f, lambda answer, _: bool(answer)
    ),
    "before the result": lambda f: before(trial, "write_result", f),
    "before tell": lambda f: before(study.Study, "tell", f),
    "after tell": lambda f: after(study.Study, "tell", f),
    "after the claim of an orphan": lambda f: after(worker, "claim_after", f),
}


def main() -> None:
    step, times, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    sweep = open_sweep(SweepPaths(folder))
    crashing = worker_of(sweep)
    STEPS[step](Fuse(times))
    crashing.run()


if __name__ == "__main__":
    main()
