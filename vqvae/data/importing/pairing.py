"""Finding the label map of each scan."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqvae.data.importing.sources import File, VolumeFiles, same_grid, week_of
from vqvae.data.segmentations import LARGEST_LABEL


@dataclass(frozen=True)
class LabelMap:
    """A label map.

    Attributes:
        files: its files, as many as those of its scan.
        labels: how many different labels it has, the background included.
        largest: its largest label.
    """

    files: VolumeFiles
    labels: int
    largest: int

    @property
    def path(self) -> Path:
        """Its first file."""
        return self.files[0].path


def choose_label_maps(
    scans: Sequence[VolumeFiles], label_maps: Sequence[LabelMap]
) -> tuple[dict[int, LabelMap], list[str]]:
    """Choose the label map of each scan of one patient: same grid, same week, nearest name.

    Returns:
        The label map of each scan that has one, by the position of the scan, and one line for each
        label map that is not used.
    """
    reasons = {one.path: _why_unusable(one, scans) for one in label_maps}
    usable = [one for one in label_maps if reasons[one.path] is None]
    chosen: dict[int, LabelMap] = {}
    ties: dict[Path, str] = {}
    for at, scan in enumerate(scans):
        best = _nearest_by_name(scan[0], [one for one in usable if same_grid(one.files, scan)])
        if len(best) == 1:
            chosen[at] = best[0]
        else:
            for one, other in zip(best, [*best[1:], *best[:1]], strict=True):
                ties[one.path] = f"{other.path} fits {scan[0].path} just as well"
    used = {one.path for one in chosen.values()}
    others = "other label maps fit the scans better by name"
    return chosen, [
        f"{one.path}: {reasons[one.path] or ties.get(one.path, others)}"
        for one in label_maps
        if one.path not in used
    ]


def _why_unusable(label_map: LabelMap, scans: Sequence[VolumeFiles]) -> str | None:
    """Why a label map can be that of no scan; None if it can be."""
    if label_map.largest > LARGEST_LABEL:
        return f"its labels go up to {label_map.largest}, not to {LARGEST_LABEL}"
    if not any(same_grid(label_map.files, scan) for scan in scans):
        return "no scan of the same patient has its grid"
    return None


def _nearest_by_name(scan: File, label_maps: Sequence[LabelMap]) -> list[LabelMap]:
    """The label maps of the scan's week, and of these the ones with the most similar names."""
    week = week_of(scan)
    of_week = [one for one in label_maps if week is None or week_of(one.files[0]) in (week, None)]
    common = [_common(scan.path, one.path) for one in of_week]
    return [one for one, length in zip(of_week, common, strict=True) if length == max(common)]


def _common(first: Path, second: Path) -> int:
    """How many characters at the start of two file names are the same."""
    pairs = zip(first.name, second.name, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
