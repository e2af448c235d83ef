"""How an import was done, and what came of it: `import.json` in the data set."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqvae.data.importing.geometry import Axis, Fit, Size
from vqvae.data.importing.plan import Plan, Volume
from vqvae.data.layout import SliceName, SplitName

RECORD = "import.json"


@dataclass(frozen=True)
class Options:
    """How volumes are cut into slices.

    Attributes:
        axis: the axis across which volumes are cut.
        size: the size of all slices; None keeps the size that each volume gives.
        fit: how slices are brought to `size`.
        min_tissue: the smallest share of tissue pixels with which a slice is kept, 0 to 1. A pixel
            is tissue if it is brighter than 10 % of the way from the volume's minimum to its 99th
            percentile.
        fill_background: replace NaN and infinite pixels by the smallest finite intensity of their
            file.
        relabel: the new label of each label, uint8 [256]; None keeps them.
        skip_bad: leave out volumes that cannot be imported; otherwise nothing is written.
    """

    axis: Axis = Axis.AXIAL
    size: Size | None = None
    fit: Fit = Fit.CROP
    min_tissue: float = 0.02
    fill_background: bool = False
    relabel: NDArray[np.uint8] | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class Imported:
    """The slices of one volume."""

    volume: Volume
    kept: tuple[SliceName, ...]
    """Slices that were written."""
    dropped: int
    """The number of slices with too little tissue."""


@dataclass(frozen=True)
class Result:
    """What was imported.

    Attributes:
        volumes: the volumes that could be imported.
        splits: the split of each patient who has a slice.
        failed: one line for each file that could not be imported.
    """

    volumes: tuple[Imported, ...]
    splits: Mapping[str, SplitName]
    failed: tuple[str, ...]

    def of(self, split: SplitName) -> list[Imported]:
        """The volumes of the patients in a split."""
        return [one for one in self.volumes if self.splits.get(one.volume.patient) == split]


def write_record(folder: Path, plan: Plan, options: Options, result: Result) -> None:
    """Write `import.json` into the folder of the data set."""
    record = json.dumps(_record(plan, options, result), indent=2)
    (folder / RECORD).write_text(record + "\n", encoding="utf-8")


def _record(plan: Plan, options: Options, result: Result) -> dict[str, Any]:
    described = {name: value for name, value in asdict(options).items() if value is not None}
    if options.relabel is not None:
        new = dict(enumerate(options.relabel.tolist()))
        described["relabel"] = {str(old): label for old, label in new.items() if label != old}
    return {
        "pattern": plan.patients.pattern,
        "split": plan.request.shares,
        "seed": plan.request.seed,
        "label_maps": plan.request.label_maps,
        **described,
        "volumes": [_row(one, result.splits.get(one.volume.patient)) for one in result.volumes],
        "left_out": [*plan.left_out, *plan.label_maps, *result.failed],
    }


def _row(one: Imported, split: SplitName | None) -> dict[str, Any]:
    volume = one.volume
    return {
        "patient": volume.patient,
        "split": split,
        "case": volume.case,
        "week": volume.week,
        "sources": [str(file.path) for file in volume.files],
        "labels": [str(file.path) for file in volume.label_files],
        "slices": len(one.kept),
        "dropped": one.dropped,
    }
