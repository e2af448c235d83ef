"""Importing the scans of any study into the HipMRI layout."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import DTypeLike, NDArray

from vqvae.data.importing.geometry import Axis, Cut, Fit, Size, cut, fitted
from vqvae.data.importing.sources import File, Patients, slice_number, volumes_of, week_of
from vqvae.data.layout import SLICES_FOLDER, SPLITS, SliceName, SplitName, split_folder
from vqvae.data.nifti import read_image, write_image
from vqvae.data.progress import track
from vqvae.errors import InputError
from vqvae.files import new_folder

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
    """

    axis: Axis = Axis.AXIAL
    size: Size | None = None
    fit: Fit = Fit.CROP
    min_tissue: float = 0.02


@dataclass(frozen=True)
class Volume:
    """One volume: its files, and its split, case and week in the layout."""

    patient: str
    """The patient's name in the source files."""
    split: SplitName
    case: int
    week: int
    files: tuple[File, ...]
    """One file, or one file for each slice."""


@dataclass(frozen=True)
class Imported:
    """The result of importing one volume."""

    volume: Volume
    kept: int
    """Slices that were written."""
    dropped: int
    """Slices with too little tissue."""


def divide(patients: Sequence[str], shares: str, seed: int) -> dict[str, SplitName]:
    """Assign every patient to a split at random.

    Args:
        patients: their names.
        shares: for train, validate and test, separated by commas: three fractions that sum to 1, or
            three counts that sum to the number of patients. Every split gets at least one patient.
        seed: of the random assignment.

    Returns:
        The split of each patient.

    Raises:
        InputError: there are fewer than three patients, or `shares` is not valid.
    """
    if len(patients) < len(SPLITS):
        raise InputError(
            f"{len(patients)} patients ({', '.join(patients)}) are too few for three splits; give "
            "the scans of at least three patients, or another --patient"
        )
    counts = _counts(shares, len(patients))
    order = np.random.default_rng(seed).permutation(sorted(patients))
    owners = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    return dict(sorted(zip(map(str, order), owners, strict=True)))


def plan(patients: Patients, splits: Mapping[str, SplitName]) -> tuple[Volume, ...]:
    """Assign every volume a case and a week.

    The week is the one in its path, if all volumes of the patient have different ones, and else its
    rank from 0.

    Args:
        patients: the files by patient.
        splits: the split of each patient.

    Raises:
        InputError: the header of a file cannot be read.
    """
    cases = patients.cases()
    volumes = []
    for patient, files in patients.files.items():
        groups = volumes_of(files)
        weeks = [week_of(group[0]) for group in groups]
        if None in weeks or len(set(weeks)) < len(weeks):
            weeks = list(range(len(groups)))
        for week, group in zip(weeks, groups, strict=True):
            volumes.append(Volume(patient, splits[patient], cases[patient], week or 0, group))
    return tuple(volumes)


def write_import(
    volumes: Sequence[Volume], out: Path, options: Options, notes: Mapping[str, Any]
) -> tuple[Imported, ...]:
    """Write the data set at `out`, atomically, with a record of the sources (`import.json`).

    Args:
        volumes: the result of `plan`.
        out: a folder that does not exist yet.
        options: how volumes are cut into slices.
        notes: more entries of the record.

    Raises:
        InputError: a volume cannot be read, a split has no slice with enough tissue, or `out`
            exists or cannot be written.
    """
    with new_folder(out) as unfinished:
        base = unfinished / SLICES_FOLDER
        for split in SPLITS:
            split_folder(base, split).mkdir(parents=True)
        steps = track(volumes, "importing volumes", len(volumes))
        results = tuple(_write_volume(volume, base, options) for volume in steps)
        for split in SPLITS:
            if not sum(result.kept for result in results if result.volume.split == split):
                raise InputError(f"no slice of {split} holds enough tissue; lower --min-tissue")
        record = {**notes, **_described(options), "volumes": [_row(result) for result in results]}
        (unfinished / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return results


def _write_volume(volume: Volume, base: Path, options: Options) -> Imported:
    slices = list(_slices(volume, options.axis))
    values = np.concatenate([piece.pixels.ravel()[::7] for _, piece, _ in slices])
    low, high = float(values.min()), float(np.percentile(values, 99))
    tissue = low + 0.1 * (high - low)
    folder = split_folder(base, volume.split)
    kept = 0
    for number, piece, dtype in slices:
        background = min(low, float(piece.pixels.min()))
        if options.size is not None:
            piece = fitted(piece, options.size, options.fit, background)  # noqa: PLW2901
        if high > low and (piece.pixels > tissue).mean() >= options.min_tissue:
            name = SliceName(volume.case, volume.week, number)
            path = folder / f"{name.stem()}.nii.gz"
            if path.exists():
                raise InputError(
                    f"{volume.files[0].path}: two slices of its volume have the number {number}; "
                    "import only one of them, or give them different numbers"
                )
            write_image(path, _image(piece, dtype))
            kept += 1
    return Imported(volume, kept, len(slices) - kept)


def _slices(volume: Volume, axis: Axis) -> Iterator[tuple[int, Cut, DTypeLike]]:
    """Number, slice and type on disk; an integer type without scaling is kept, else float32."""
    for file in volume.files:
        image = read_image(file.path)
        pieces = cut(image, file.path, axis)
        first = slice_number(file) if len(volume.files) > 1 else 0
        integer = np.dtype(image.get_data_dtype()).kind in "iu"
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
        dtype = image.get_data_dtype() if integer and not scaled else np.float32
        for number, piece in enumerate(pieces, first):
            yield number, piece, dtype


def _image(piece: Cut, dtype: DTypeLike) -> Any:
    pixels: NDArray[Any] = piece.pixels
    if np.dtype(dtype).kind in "iu":
        # float32 rounds the largest integers up to values that do not fit into the type.
        limits = np.iinfo(dtype)
        pixels = np.rint(pixels).astype(np.float64).clip(limits.min, limits.max)
    image = nibabel.Nifti1Image(pixels.astype(dtype), piece.affine)
    image.header.set_xyzt_units("mm")
    return image


def _counts(shares: str, patients: int) -> list[int]:
    try:
        values = [float(share) for share in shares.split(",")]
    except ValueError:
        values = []
    if len(values) != len(SPLITS) or not all(0 < value < math.inf for value in values):
        raise InputError(
            f"--split {shares!r}: write three shares, as fractions (0.7,0.15,0.15) or as counts of "
            "patients (20,4,3)"
        )
    if all(value >= 1 for value in values):
        if sum(values) != patients or any(value != int(value) for value in values):
            raise InputError(f"--split {shares!r}: the counts must sum to the {patients} patients")
        return [int(value) for value in values]
    if abs(sum(values) - 1) > 1e-6:
        raise InputError(f"--split {shares!r}: the fractions must sum to 1")
    # One patient for each split; each further one for the split that is furthest below its share.
    counts = [1] * len(SPLITS)
    for _ in range(patients - len(SPLITS)):
        missing = [value * patients - count for value, count in zip(values, counts, strict=True)]
        counts[missing.index(max(missing))] += 1
    return counts


def _described(options: Options) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def _row(result: Imported) -> dict[str, Any]:
    volume = result.volume
    return {
        "patient": volume.patient,
        "split": volume.split,
        "case": volume.case,
        "week": volume.week,
        "sources": [str(file.path) for file in volume.files],
        "slices": result.kept,
        "dropped": result.dropped,
    }
