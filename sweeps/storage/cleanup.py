"""Files of a sweep that are not needed, or that may be removed: found, and removed on request.

Never among them: rows of epochs, results, configurations, logs of jobs, checkpoints that an open
trial continues from, anything published or registered, and the best epochs of a confirmation, which
promotions read again.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from sweeps.storage.retention import unneeded_checkpoints
from sweeps.storage.sweep import Sweep
from sweeps.storage.sweep_totals import rank_trials
from sweeps.storage.trial_record import best_checkpoint, is_published, read_snapshot

DRAFT_SECONDS = 3600.0
"""Seconds after which an unfinished file has no writer any more: writing takes seconds."""


@dataclass(frozen=True)
class Leftover:
    """Files of one kind that can be removed.

    Attributes:
        kind: the kind, in words.
        paths: the files, and folders of files.
        size: how many bytes their removal frees.
    """

    kind: str
    paths: list[Path]
    size: int

    def describe(self) -> str:
        """Return the kind, the number of files and their size in one line."""
        return f"{self.kind}: {len(self.paths)}, {self.size / 1e6:.1f} MB"


def find_leftovers(sweep: Sweep) -> list[Leftover]:
    """Return the files that are not needed, also while the sweep runs."""
    ended = [file for trial in sweep.paths.trials() for file in unneeded_checkpoints(trial)]
    oldest = time.time() - DRAFT_SECONDS
    drafts = [path for path in sweep.paths.drafts() if _changed(path) < oldest]
    found = [
        _leftover("checkpoints of trials that have ended", ended),
        _leftover("unfinished files of killed writers", drafts),
    ]
    return [leftover for leftover in found if leftover.paths]


def spare_checkpoints(sweep: Sweep, keep: int) -> Leftover | None:
    """Return checkpoints of complete trials that MLflow has too, except those of the `keep` best.

    None if there are none, and for a confirmation.
    """
    if sweep.plan.confirms is not None:
        return None
    ranking = rank_trials(map(read_snapshot, sweep.paths.trials()), sweep.experiment.objective)
    checkpoints = [best_checkpoint(trial) for trial, _ in ranking[keep:] if is_published(trial)]
    paths = [file for file in checkpoints if file is not None]
    exception = f", except the best {keep if keep > 1 else 'one'}" if keep else ""
    return _leftover(f"checkpoints of complete trials{exception}", paths) if paths else None


def remove_leftovers(found: Iterable[Leftover]) -> None:
    """Remove what was found; files that were removed meanwhile are not an error."""
    for path in (path for leftover in found for path in leftover.paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _leftover(kind: str, paths: list[Path]) -> Leftover:
    """Add up the sizes; a file with a second name (hard link) elsewhere frees nothing."""
    inside = [Path(at) / name for path in paths for at, _, names in os.walk(path) for name in names]
    stats = [stat for path in [*paths, *inside] if (stat := _stat(path)) and S_ISREG(stat.st_mode)]
    names = Counter(stat.st_ino for stat in stats)
    freed = {stat.st_ino: stat.st_size for stat in stats if names[stat.st_ino] == stat.st_nlink}
    return Leftover(kind, paths, sum(freed.values()))


def _changed(path: Path) -> float:
    stat = _stat(path)
    return time.time() if stat is None else stat.st_mtime


def _stat(path: Path) -> os.stat_result | None:
    """Return the file's status; None if it has gone: renamed by its writer, or trimmed."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
