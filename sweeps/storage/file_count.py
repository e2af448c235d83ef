"""How many files and folders a sweep makes: home folders often have a limit on their number."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.storage.paths import SweepPaths
from sweeps.text import count

FILES_A_TRIAL = 25
"""Files and folders of a complete trial with one attempt, in its own folder and in the artifacts of
a local MLflow store; `tests/sweeps/storage/test_file_count.py` counts them."""
OTHER_FILES = 40
"""Files and folders of a sweep beside those of its trials, with one job of two workers."""


@dataclass(frozen=True)
class FileCount:
    """How many files and folders a sweep has in the end, about.

    Attributes:
        trials: how many trials it has.
        per_trial: how many each of them makes.
        others: how many there are beside those.
        measured: whether the numbers are from trials of this sweep.
    """

    trials: int
    per_trial: int
    others: int
    measured: bool

    @property
    def total(self) -> int:
        """All files and folders together."""
        return self.trials * self.per_trial + self.others

    def text(self) -> str:
        """Return the numbers in one line."""
        source = "" if self.measured else "; more if trials are interrupted"
        return (
            f"about {self.total} files and folders: {count(self.trials, 'trial')} of "
            f"{self.per_trial} each, and {self.others} others{source}"
        )


def count_files(paths: SweepPaths, trials: int) -> FileCount:
    """Return how many files and folders a sweep of so many trials makes.

    The numbers are those of its own trials that have ended, with their artifacts in a local store.
    Without such trials they are the usual ones.
    """
    ended = [trial for trial in paths.trials() if trial.settled.exists()]
    if not ended:
        return FileCount(trials, FILES_A_TRIAL, OTHER_FILES, measured=False)
    found = sum(1 + _entries(trial.folder) for trial in ended)
    found += _entries(paths.runs.artifacts_of(paths.name))
    others = _entries(paths.folder) - _entries(paths.trials_folder)
    return FileCount(trials, -(-found // len(ended)), others, measured=True)


def _entries(folder: Path) -> int:
    return sum(_names(folder))


def _names(folder: Path) -> Iterator[int]:
    for _, folders, files in os.walk(folder):
        yield len(folders) + len(files)
