"""The schedule of faults: one file per fault says at which step it happens.

The suite writes a fault into a folder. Every process of the sweep under test looks there at each of
its steps (`tests/faults/steps.py`). A process takes a fault by creating a file exclusively: so the
fault happens once, and the file proves that it has happened.
"""

import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "FAULTS_FOLDER"
"""The environment variable with the folder of the schedule; without it nothing is injected."""


@dataclass(frozen=True)
class ScheduledFault:
    """A fault that will happen at a step.

    Attributes:
        name: the name of this entry of the schedule.
        fault: the name of the fault.
        step: the step of the record at which it happens.
        phase: `before`, `middle` or `after` the step.
        times: it happens when one process reaches the step for this time, from 1.
    """

    name: str
    fault: str
    step: str
    phase: str
    times: int = 1


class Schedule:
    """The folder of scheduled faults."""

    def __init__(self, folder: Path) -> None:
        """Create the folder."""
        self.folder = folder
        self._arrivals: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def give(self, scheduled: ScheduledFault) -> None:
        """Schedule a fault: the next process that reaches its step carries it out."""
        draft = self.folder / f".{scheduled.name}"
        draft.write_text(json.dumps(asdict(scheduled)))
        draft.rename(self.folder / f"{scheduled.name}.json")

    def withdraw(self, scheduled: ScheduledFault) -> None:
        """Remove a fault from the schedule."""
        (self.folder / f"{scheduled.name}.json").unlink(missing_ok=True)

    def fired(self, scheduled: ScheduledFault) -> dict[str, Any] | None:
        """Return the process that carried out the fault, and when; None while none has."""
        try:
            content: dict[str, Any] = json.loads(
                (self.folder / f"{scheduled.name}.fired").read_text()
            )
        except (FileNotFoundError, ValueError):
            return None
        return content

    def take(self, step: str, phase: str) -> ScheduledFault | None:
        """Return the fault for this step, if there is one and no other process has taken it."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                scheduled = ScheduledFault(**json.loads(path.read_text()))
            except FileNotFoundError:
                continue
            if (scheduled.step, scheduled.phase) != (step, phase):
                continue
            self._arrivals[scheduled.name] += 1
            if self._arrivals[scheduled.name] >= scheduled.times and self._mark_fired(scheduled):
                path.unlink(missing_ok=True)
                return scheduled
        return None

    def _mark_fired(self, scheduled: ScheduledFault) -> bool:
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
    """Return the schedule for this process; None outside of the suite."""
    folder = os.environ.get(FOLDER)
    return Schedule(Path(folder)) if folder else None
