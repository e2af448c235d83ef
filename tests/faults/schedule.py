"""A schedule of faults: a file says which fault happens where; who gets there takes it.

The suite writes a fault into a folder; every process of the sweep under test looks there at
each of its steps (`tests/faults/steps.py`). Taking a fault is making a file exclusively, so it is
carried out once, and that file is the proof that the fault has happened.
"""

import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "FAULTS_FOLDER"
"""The environment variable that names the folder of orders; without it nothing is injected."""


@dataclass(frozen=True)
class ScheduledFault:
    """A fault that is to happen at a step.

    Attributes:
        name: the order's own.
        fault: what is to happen.
        step: at which step of the record.
        phase: `before`, `middle` or `after` it.
        times: at which arrival there, in one process.
    """

    name: str
    fault: str
    step: str
    phase: str
    times: int = 1


class Schedule:
    """The folder of orders."""

    def __init__(self, folder: Path) -> None:
        """Make the folder."""
        self.folder = folder
        self._arrivals: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def give(self, scheduled: ScheduledFault) -> None:
        """Have the next process that gets to the order's step carry it out."""
        draft = self.folder / f".{scheduled.name}"
        draft.write_text(json.dumps(asdict(scheduled)))
        draft.rename(self.folder / f"{scheduled.name}.json")

    def withdraw(self, scheduled: ScheduledFault) -> None:
        """Have nobody carry it out any more."""
        (self.folder / f"{scheduled.name}.json").unlink(missing_ok=True)

    def fired(self, scheduled: ScheduledFault) -> dict[str, Any] | None:
        """Who met the fault, and when; None while nobody has."""
        try:
            content: dict[str, Any] = json.loads(
                (self.folder / f"{scheduled.name}.fired").read_text()
            )
        except (FileNotFoundError, ValueError):
            return None
        return content

    def take(self, step: str, phase: str) -> ScheduledFault | None:
        """The order for this step, if there is one and nobody else was quicker."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                scheduled = ScheduledFault(**json.loads(path.read_text()))
            except FileNotFoundError:
                continue
            if (scheduled.step, scheduled.phase) != (step, phase):
                continue
            self._arrivals[scheduled.name] += 1
            if self._arrivals[scheduled.name] >= scheduled.times and self._sign(scheduled):
                path.unlink(missing_ok=True)
                return scheduled
        return None

    def _sign(self, scheduled: ScheduledFault) -> bool:
        try:
            handle = os.open(
                self.folder / f"{scheduled.name}.fired", os.O_WRONLY | os.O_CREAT | os.O_EXCL
            )
        except FileExistsError:
            return False
        os.write(handle, json.dumps({"pid": os.getpid(), "time": time.time()}).encode())
        os.close(handle)
        return True


def schedule_here() -> Schedule | None:
    """The orders that this process is under; None outside of the suite."""
    folder = os.environ.get(FOLDER)
    return Schedule(Path(folder)) if folder else None
