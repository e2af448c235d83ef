"""A worker that is killed, as by `kill -9`, at one step of its work, in a process of its own.

`python -m tests.sweeps.crashing STEP TIMES FOLDER` runs a worker on the sweep in FOLDER and kills
it when it reaches STEP for the TIMES-th time.
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


class Countdown:
    """Kills this process when a step is reached for the given time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            kill()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, countdown: Countdown) -> None:
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        countdown.count()
        return original(*args, **kwargs)

    setattr(owner, name, call)


def after(
    owner: Any, name: str, countdown: Countdown, when: Callable[[Any, Any], bool] = lambda *_: True
) -> None:
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(result, args):
            countdown.count()
        return result

    setattr(owner, name, call)


def half(owner: Any, name: str, countdown: Countdown, where: Callable[[str], bool]) -> None:
    """Write only the first half of the content, then kill this process."""
    original = getattr(owner, name)

    def call(handle: int, content: bytes, offset: int, *, sync: bool = True) -> int:
        if where(Path(f"/proc/self/fd/{handle}").readlink().name):
            countdown.left -= 1
            if countdown.left == 0:
                os.pwrite(handle, content[: len(content) // 2], offset)
                os.fsync(handle)
                kill()
        return original(handle, content, offset, sync=sync)

    setattr(owner, name, call)


def half_checkpoint(countdown: Countdown) -> None:
    original = tiny.save

    def save(folder: Path, state: float, row: tiny.Row) -> None:
        countdown.left -= 1
        if countdown.left == 0:
            (folder / ".last.pt.0").write_text(json.dumps({"state": state})[:5])
            kill()
        original(folder, state, row)

    tiny.save = save


def creates_trial(_: Any, args: tuple[Any, ...]) -> bool:
    return any(entry["op_code"] == CREATE_TRIAL for entry in args[1])


STEPS: dict[str, Callable[[Countdown], None]] = {
    "in a proposal, after the trial in the study": lambda c: after(
        journal.Journal, "append_logs", c, creates_trial
    ),
    "in a proposal, before the folder": lambda c: before(propose.Proposer, "_make_folder", c),
    "in a proposal, with an incomplete folder": lambda c: before(propose, "claim_text", c),
    "in a proposal, after the folder": lambda c: after(propose.Proposer, "_make_folder", c),
    "half a line of the journal": lambda c: half(
        atomic, "write_all", c, lambda name: name == "study.jsonl"
    ),
    "in the middle of a checkpoint": half_checkpoint,
    "between checkpoint and row": lambda c: before(trial, "append_row", c),
    "half a row": lambda c: half(atomic, "write_all", c, lambda name: name == "metrics.jsonl"),
    "between row and report": lambda c: before(study.Study, "report", c),
    "between report and pruning decision": lambda c: before(study.Study, "should_prune", c),
    "after a decision to prune": lambda c: after(
        study.Study, "should_prune", c, lambda decision, _: bool(decision)
    ),
    "before the result": lambda c: before(trial, "write_result", c),
    "before tell": lambda c: before(study.Study, "tell", c),
    "after tell": lambda c: after(study.Study, "tell", c),
    "after the claim of an orphan": lambda c: after(worker, "claim_after", c),
}


def main() -> None:
    step, times, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    sweep = open_sweep(SweepPaths(folder))
    crashing = worker_of(sweep)
    STEPS[step](Countdown(times))
    crashing.run()


if __name__ == "__main__":
    main()
