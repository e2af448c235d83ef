"""What of a sweep's files nobody needs, and what may be done without: shown, and removed if asked.

Never: a row, a result, a configuration, a job's log, what an open trial goes on from, what was
published or registered, and the best epochs of a confirmation, which promotions come back to.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from sweeps.storage.results import rank_trials
from sweeps.storage.retention import unneeded_checkpoints
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import best_checkpoint, is_published, read_snapshot

DRAFT_SECONDS = 3600.0
"""A file that no writer has finished for so long has none any more: writing takes seconds."""


@dataclass(frozen=True)
class Leftover:
    """Files of one kind that can go.

    Attributes:
        what: of what kind.
        paths: the files, and folders of them.
        size: how many bytes their removal frees.
    """

    kind: str
    paths: list[Path]
    size: int

    def describe(self) -> str:
        """What it is, how many and how much, for a person."""
        return f"{self.kind}: {len(self.paths)}, {self.size / 1e6:.1f} MB"


def find_leftovers(sweep: Sweep) -> list[Leftover]:
    """What nobody needs, whatever the sweep is at."""
    ended = [file for trial in sweep.paths.trials() for file in unneeded_checkpoints(trial)]
    oldest = time.time() - DRAFT_SECONDS
    drafts = [path for path in sweep.paths.drafts() if _changed(path) < oldest]
    found = [
        _leftover("checkpoints of trials that ended", ended),
        _leftover("unfinished files of killed writers", drafts),
    ]
    return [leftover for leftover in found if leftover.paths]


def spare_checkpoints(sweep: Sweep, keep: int) -> Leftover | None:
    """The checkpoints of complete trials that MLflow has too, but for those of the `keep` best."""
    if sweep.plan.confirms is not None:
        return None
    order = rank_trials(map(read_snapshot, sweep.paths.trials()), sweep.experiment.objective)
    later = [best_checkpoint(trial) for trial, _ in order[keep:] if is_published(trial)]
    paths = [file for file in later if file is not None]
    but = f", but for the best {keep if keep > 1 else 'one'}" if keep else ""
    return _leftover(f"checkpoints of complete trials{but}", paths) if paths else None


def remove_leftovers(found: Iterable[Leftover]) -> None:
    """Remove what was found; what is gone already is no matter."""
    for path in (path for leftover in found for path in leftover.paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _leftover(what: str, paths: list[Path]) -> Leftover:
    """A file with a second name elsewhere frees nothing."""
    inside = [Path(at) / name for path in paths for at, _, names in os.walk(path) for name in names]
    stats = [stat for path in [*paths, *inside] if (stat := _stat(path)) and S_ISREG(stat.st_mode)]
    names = Counter(stat.st_ino for stat in stats)
    freed = {stat.st_ino: stat.st_size for stat in stats if names[stat.st_ino] == stat.st_nlink}
    return Leftover(what, paths, sum(freed.values()))


def _changed(path: Path) -> float:
    stat = _stat(path)
    return time.time() if stat is None else stat.st_mtime


def _stat(path: Path) -> os.stat_result | None:
    """None where it is gone: its writer was quicker, or its owner trimmed it."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
