"""Writing the planned volumes of an import as slices in the HipMRI layout."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from vqvae.data.importing.geometry import Axis, Cut, Fit, Size, cut, fitted
from vqvae.data.importing.plan import Plan, Volume
from vqvae.data.importing.sources import VolumeFiles, slice_number
from vqvae.data.layout import SLICES_FOLDER, SPLITS, SliceName, split_folder
from vqvae.data.nifti import SMALLEST_SIDE, read_image, write_image
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
        fill_background: replace NaN and infinite pixels by the volume's smallest finite intensity.
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
    """The result of importing one volume."""

    volume: Volume
    kept: int
    """Slices that were written."""
    dropped: int
    """Slices with too little tissue."""


class BadVolumesError(InputError):
    """Some volumes cannot be imported.

    Attributes:
        lines: one for each of them, with the reason.
    """

    def __init__(self, lines: tuple[str, ...]) -> None:
        files = f"{len(lines)} file{'' if len(lines) == 1 else 's'}"
        super().__init__(
            f"{files} cannot be imported (listed above); nothing was written: correct the files, "
            "or leave them out with --on-bad skip"
        )
        self.lines = lines


def write_import(
    plan: Plan, out: Path, options: Options
) -> tuple[tuple[Imported, ...], tuple[str, ...]]:
    """Write the data set at `out`, atomically, with a record of the sources (`import.json`).

    Args:
        plan: what is imported.
        out: a folder that does not exist yet.
        options: how volumes are cut into slices.

    Returns:
        The result of each volume, and one line for each that cannot be imported.

    Raises:
        BadVolumesError: there are such volumes, and they are not to be skipped.
        InputError: a split has no slice with enough tissue, or `out` exists or cannot be written.
    """
    results: list[Imported] = []
    bad: list[tuple[Volume, str]] = []
    with new_folder(out) as unfinished:
        base = unfinished / SLICES_FOLDER
        for split in SPLITS:
            split_folder(base, split).mkdir(parents=True)
        for volume in track(plan.volumes, "importing volumes", len(plan.volumes)):
            try:
                results.append(_write_volume(volume, base, options))
            except InputError as error:
                bad.append((volume, str(error)))
        failed = [*plan.failed, *(reason for _, reason in bad)]
        if failed and not options.skip_bad:
            raise BadVolumesError(tuple(failed))
        failed += _companions(bad, results)
        for split in SPLITS:
            if not sum(result.kept for result in results if result.volume.split == split):
                raise InputError(f"no slice of {split} holds enough tissue; lower --min-tissue")
        record = _record(plan, options, results, failed)
        (unfinished / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return tuple(results), tuple(failed)


def _companions(bad: list[tuple[Volume, str]], results: list[Imported]) -> list[str]:
    """One line for each file that is left out because another file of its volume is bad."""
    used = {path for result in results for path in _paths(result.volume)}
    return [
        f"{path}: left out, for its volume cannot be imported"
        for volume, reason in bad
        for path in _paths(volume)
        if path not in used and not reason.startswith(f"{path}:")
    ]


def _paths(volume: Volume) -> list[str]:
    return [str(file.path) for file in (*volume.files, *volume.label_files)]


def _write_volume(volume: Volume, base: Path, options: Options) -> Imported:
    slices = list(_slices(volume.files, options))
    labels = [piece for _, piece in _slices(volume.label_files, options)]
    _check_slices(volume, slices, options)
    values = np.concatenate([piece.pixels.ravel()[::7] for _, piece in slices])
    low, high = values.min(), float(np.percentile(values, 99))
    tissue = float(low) + 0.1 * (high - float(low))
    folder = split_folder(base, volume.split)
    label_folder = split_folder(base, volume.split, labels=True)
    kept = 0
    for at, (number, piece) in enumerate(slices):
        background = min(low, piece.pixels.min())
        fitting = _fitted(piece, options, background)
        if not high > low or (fitting.pixels > tissue).mean() < options.min_tissue:
            continue
        kept += 1
        name = SliceName(volume.case, volume.week, number)
        write_image(folder / f"{name.stem()}.nii.gz", _image(fitting))
        if labels:
            label_folder.mkdir(exist_ok=True)
            fitting = _fitted(labels[at], options, 0, labels=True)
            pixels = np.rint(fitting.pixels).astype(np.uint8)
            pixels = pixels if options.relabel is None else options.relabel[pixels]
            path = label_folder / f"{name.stem('seg')}.nii.gz"
            write_image(path, _image(Cut(pixels, fitting.affine)))
    return Imported(volume, kept, len(slices) - kept)


def _slices(files: VolumeFiles, options: Options) -> Iterator[tuple[int, Cut]]:
    """The slices of a volume, with their numbers."""
    for file in files:
        image = read_image(file.path)
        pieces = cut(image, file.path, options.axis, fill_background=options.fill_background)
        yield from enumerate(pieces, slice_number(file) if len(files) > 1 else 0)


def _check_slices(volume: Volume, slices: list[tuple[int, Cut]], options: Options) -> None:
    """Check that the slices of a volume can be told apart, and that they can be scored.

    Raises:
        InputError: two have the same number, or they are too small.
    """
    path = volume.files[0].path
    numbers = [number for number, _ in slices]
    for number in numbers:
        if numbers.count(number) > 1:
            raise InputError(
                f"{path}: two slices of its volume have the number {number}; import only one of "
                "them, or give them different numbers"
            )
    height, width = slices[0][1].pixels.shape
    if options.size is None and min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{path}: its {options.axis} slices have {height}x{width} pixels, and SSIM needs "
            f"{SMALLEST_SIDE} a side; give another --axis, or a --size"
        )


def _fitted(piece: Cut, options: Options, background: float, *, labels: bool = False) -> Cut:
    if options.size is None:
        return piece
    return fitted(piece, options.size, options.fit, background, labels=labels)


def _image(piece: Cut) -> Any:
    image = nibabel.Nifti1Image(piece.pixels, piece.affine, dtype=piece.pixels.dtype)
    image.header.set_xyzt_units("mm")
    return image


def _record(
    plan: Plan, options: Options, results: list[Imported], failed: list[str]
) -> dict[str, Any]:
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
        "volumes": [_row(result) for result in results],
        "left_out": [*plan.left_out, *plan.label_maps, *failed],
    }


def _row(result: Imported) -> dict[str, Any]:
    volume = result.volume
    return {
        "patient": volume.patient,
        "split": volume.split,
        "case": volume.case,
        "week": volume.week,
        "sources": [str(file.path) for file in volume.files],
        "labels": [str(file.path) for file in volume.label_files],
        "slices": result.kept,
        "dropped": result.dropped,
    }
