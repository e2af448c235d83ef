"""Recognising label maps (segmentations) among scans.

Studies keep both in one tree, in the same format: `B006_Week0_LFOV` beside `B006_Week0_SEMANTIC`,
`imagesTr` beside `labelsTr`, masks of BIDS. A model that is trained on label maps by mistake gets
excellent scores.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqvae.data.importing.pairing import LabelMap, choose_label_maps
from vqvae.data.importing.sources import File, VolumeFiles, same_grid, volumes_of
from vqvae.data.nifti import read_image, read_values
from vqvae.errors import InputError

_FEW, _MOST = 32, 256
"""Different values: nearly all label maps have at most the first number, all the second."""
_WORDS = (
    r"labels?(?:tr|ts)?|masks?|segs?|segmentations?|dseg|gt|rois?|annotations?|contours?"
    r"|aparc|aseg|wmparc"  # of FreeSurfer
)
_IN_NAME = re.compile(rf"(?i)(?<![a-z])({_WORDS}|semantic)(?![a-z])")
# HipMRI's scans are in a folder `semantic_MRs`, so that word counts in the file's own name only.
_IN_FOLDER = re.compile(rf"(?i)(?<![a-z])({_WORDS})(?![a-z])")


@dataclass(frozen=True)
class Sorted:
    """One patient's volumes, sorted into scans and label maps.

    Attributes:
        scans: the volumes that are scans.
        label_maps: the others.
        chosen: the label map of each scan that has one, by the position of the scan.
        problems: one line for each label map that belongs to no scan.
    """

    scans: tuple[VolumeFiles, ...]
    label_maps: tuple[LabelMap, ...]
    chosen: dict[int, LabelMap]
    problems: tuple[str, ...]


def sort_volumes(files: Sequence[File]) -> Sorted:
    """Sort one patient's files, whose grids are known, into scans and label maps.

    A label map has at most 256 different values, all of them whole numbers, and two of these signs:
    few values (at most 32), a word for a label map in its path, a scan with the same grid beside
    it.
    """
    volumes = volumes_of(files)
    suspects = [volume for volume in volumes if _is_named(volume) or _partners(volume, volumes)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        candidates = [found for found in pool.map(_as_label_map, suspects) if found]
    doubtful = {one.files for one in candidates if _is_named(one.files) or one.labels <= _FEW}
    certain = [volume for volume in volumes if volume not in doubtful]
    label_maps = []
    for one in candidates:
        signs = (one.labels <= _FEW, _is_named(one.files), bool(_partners(one.files, certain)))
        label_maps += [one] if sum(signs) >= 2 else []
    maps = {one.files for one in label_maps}
    scans = [volume for volume in volumes if volume not in maps]
    chosen, problems = choose_label_maps(scans, label_maps)
    return Sorted(tuple(scans), tuple(label_maps), chosen, tuple(problems))


def _partners(volume: VolumeFiles, volumes: Sequence[VolumeFiles]) -> list[VolumeFiles]:
    """The other volumes that have the grid of `volume`."""
    return [other for other in volumes if other is not volume and same_grid(volume, other)]


def _is_named(volume: VolumeFiles) -> bool:
    folders, _, name = volume[0].relative.rpartition("/")
    return bool(_IN_NAME.search(name) or _IN_FOLDER.search(folders))


def _as_label_map(volume: VolumeFiles) -> LabelMap | None:
    """The volume as a label map, if its values can be labels; None if not, or if it is damaged."""
    seen: NDArray[Any] = np.zeros(0)
    try:
        for file in volume:
            values = read_values(read_image(file.path), file.path, fill_background=True)
            for part in (values.ravel()[::101], values):  # a few pixels are enough for most scans
                seen = np.union1d(seen, np.unique(part))
                if len(seen) > _MOST or (seen < 0).any() or (seen % 1 != 0).any():
                    return None
    except InputError:  # it is named when it is imported
        return None
    return LabelMap(volume, len(seen), int(seen.max(initial=0)))
