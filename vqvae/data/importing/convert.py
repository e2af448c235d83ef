"""Writing the planned volumes of an import as slices in the HipMRI layout."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np

from vqvae.data.importing.division import divide
from vqvae.data.importing.geometry import Cut, cut, fitted
from vqvae.data.importing.plan import Plan, Volume
from vqvae.data.importing.record import Imported, Options, Result, write_record
from vqvae.data.importing.sources import VolumeFiles, slice_number
from vqvae.data.layout import SLICES_FOLDER, SPLITS, SliceName, SplitName, split_folder
from vqvae.data.nifti import SMALLEST_SIDE, read_image, write_image
from vqvae.data.progress import track
from vqvae.errors import InputError, refuse_outage
from vqvae.files import new_folder


class BadVolumesError(InputError):
    """Some volumes cannot be imported.

    Attributes:
        lines: one for each of them, with the reason.
    """

    def __init__(self, lines: tuple[str, ...]) -> None:
        if len(lines) == 1:
            problem, files, them = lines[0], "the file", "it"
        else:
            problem = f"{len(lines)} files cannot be imported (listed above)"
            files, them = "the files", "them"
        super().__init__(
            f"{problem}; nothing was written: correct {files}, or leave {them} out with "
            "--on-bad skip"
        )
        self.lines = lines


def write_import(plan: Plan, out: Path, options: Options) -> Result:
    """Write the data set at `out`, atomically, with a record of the sources (`import.json`).

    Args:
        plan: what is imported.
        out: a folder that does not exist yet.
        options: how volumes are cut into slices.

    Raises:
        BadVolumesError: there are such volumes, and they are not to be skipped.
        InputError: less than three patients have a slice with enough tissue, these cannot be
            divided as asked, or `out` exists or cannot be written.
        UnavailableError: a disk or a file server fails.
    """
    volumes: list[Imported] = []
    bad: list[tuple[Volume, str]] = []
    with new_folder(out) as unfinished, tempfile.TemporaryDirectory(dir=unfinished) as drafts:
        for volume in track(plan.volumes, "importing volumes", len(plan.volumes)):
            try:
                volumes.append(_write_volume(volume, Path(drafts), options))
            except InputError as error:
                refuse_outage(error)
                bad.append((volume, str(error)))
        failed = [*plan.failed, *(reason for _, reason in bad)]
        if failed and not options.skip_bad:
            raise BadVolumesError(tuple(failed))
        failed += _companions(bad, volumes)
        result = Result(tuple(volumes), _divided(plan, volumes), tuple(failed))
        for split in SPLITS:
            _move(result.of(split), Path(drafts), unfinished / SLICES_FOLDER, split)
        write_record(unfinished, plan, options, result)
    return result


def _divided(plan: Plan, volumes: list[Imported]) -> dict[str, SplitName]:
    """The splits of the patients who have a slice: bad scans must not leave a split empty.

    Raises:
        InputError: these patients cannot be divided as asked.
    """
    patients = list(dict.fromkeys(one.volume.patient for one in volumes if one.kept))
    if len(patients) < len(SPLITS):
        raise InputError(
            f"only {len(patients)} of {len(plan.patients.files)} patients have a slice with enough "
            "tissue, and three splits need three; lower --min-tissue"
        )
    try:
        return divide(patients, plan.request.shares, plan.request.seed)
    except InputError as error:
        without = [name for name in plan.patients.files if name not in patients]
        raise InputError(
            f"{error} that have a slice (not {', '.join(without)}); nothing was written: give "
            "other counts, or fractions"
        ) from error


def _move(volumes: list[Imported], drafts: Path, base: Path, split: SplitName) -> None:
    """Move the slices of volumes, and their segmentations, into the folders of a split."""
    images = split_folder(base, split)
    segmentations = split_folder(base, split, labels=True)
    images.mkdir(parents=True)
    for one in volumes:
        for name in one.kept:
            draft = _draft(drafts, name, "case")
            draft.rename(images / draft.name)
        if one.volume.label_files:
            segmentations.mkdir(exist_ok=True)
        for name in one.kept if one.volume.label_files else ():
            draft = _draft(drafts, name, "seg")
            draft.rename(segmentations / draft.name)


def _companions(bad: list[tuple[Volume, str]], volumes: list[Imported]) -> list[str]:
    """One line for each file that is left out because another file of its volume is bad."""
    used = {path for one in volumes for path in _paths(one.volume)}
    return [
        f"{path}: left out, for its volume cannot be imported"
        for volume, reason in bad
        for path in _paths(volume)
        if path not in used and not reason.startswith(f"{path}:")
    ]


def _paths(volume: Volume) -> list[str]:
    return [str(file.path) for file in (*volume.files, *volume.label_files)]


def _write_volume(volume: Volume, drafts: Path, options: Options) -> Imported:
    slices = list(_slices(volume.files, options))
    labels = [piece for _, piece in _slices(volume.label_files, options)]
    _check_slices(volume, slices, options)
    values = np.concatenate([piece.pixels.ravel()[::7] for _, piece in slices])
    low, high = values.min(), float(np.percentile(values, 99))
    tissue = float(low) + 0.1 * (high - float(low))
    kept = []
    for at, (number, piece) in enumerate(slices):
        background = min(low, piece.pixels.min())
        fitting = _fitted(piece, options, background)
        if not high > low or (fitting.pixels > tissue).mean() < options.min_tissue:
            continue
        name = SliceName(volume.case, volume.week, number)
        kept.append(name)
        write_image(_draft(drafts, name, "case"), _image(fitting))
        if labels:
            fitting = _fitted(labels[at], options, 0, labels=True)
            pixels = np.rint(fitting.pixels).astype(np.uint8)
            pixels = pixels if options.relabel is None else options.relabel[pixels]
            write_image(_draft(drafts, name, "seg"), _image(Cut(pixels, fitting.affine)))
    return Imported(volume, tuple(kept), len(slices) - len(kept))


def _draft(drafts: Path, name: SliceName, prefix: Literal["case", "seg"]) -> Path:
    """Where a file is until it is known which split its patient is in."""
    return drafts / f"{name.stem(prefix)}.nii.gz"


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
