"""Writing a phantom: a synthetic data set in the HipMRI layout, determined by a seed.

Its files have the irregularities of the real data set: another slice width in one volume, a third
axis of length 1, uncompressed files, a folder named like its file.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.layout import SLICES_FOLDER, SPLITS, SliceName, SplitName, split_folder
from vqvae.data.nifti import write_image
from vqvae.data.phantom.anatomy import HIGHEST, LOWEST, Visit, levels, sample_patient, sample_visit
from vqvae.data.phantom.canvas import Field
from vqvae.data.phantom.organs import paint_organs
from vqvae.data.phantom.pelvis import Section, Texture, grid
from vqvae.data.progress import track
from vqvae.errors import InputError
from vqvae.files import holds_something, new_folder

RECORD = "phantom.json"
VERSION = 1  # raise it when the same configuration would give other bytes
FIRST_CASE = 4
_FIELD_OF_VIEW = 400.0  # millimetres along the height of a slice


@dataclass(frozen=True)
class _Volume:
    """One visit of one patient."""

    split: SplitName
    case: int
    week: int
    wide: bool
    """Whether its slices are 9/8 as wide as those of the other volumes."""
    odd_folder: bool
    """Whether its first slice is in a folder named like the file."""


def write_phantom(config: PhantomConfig, out: Path) -> None:
    """Write the data set at `out`, atomically.

    Raises:
        InputError: something is at `out` already, or it cannot be written.
    """
    with new_folder(out) as unfinished:
        _write(config, unfinished)


def ensure_phantom(config: DataConfig) -> None:
    """Write the phantom of a data configuration if it is not there yet.

    If the root is empty or missing, the phantom is written there. Otherwise the root must have the
    phantom of this configuration. Without `phantom` in the configuration, nothing happens. Several
    processes may call this at the same time.

    Raises:
        InputError: the root has other data, or cannot be written.
    """
    if config.phantom is None:
        return
    if not holds_something(config.root):
        try:
            write_phantom(config.phantom, config.root)
        except InputError:
            # Another process may have written it first; the check below is the same then.
            if not holds_something(config.root):
                raise
    check_phantom(config.root, config.phantom)


def read_record(root: Path) -> dict[str, Any] | None:
    """The record of the phantom at `root` (see `record_of`); None if there is no phantom."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def record_of(config: PhantomConfig) -> dict[str, Any]:
    """Everything that determines a phantom's bytes, as it is stored in `phantom.json`."""
    return {"version": VERSION, **config.model_dump(mode="json")}


def check_phantom(root: Path, requested: PhantomConfig) -> None:
    """Check that the data at `root` are the phantom with this configuration.

    Raises:
        InputError: they are other data, or a phantom with another configuration.
    """
    stored = read_record(root)
    if stored is None:
        raise InputError(
            f"data folder {root} holds no phantom; remove 'phantom' from the configuration to use "
            "the data that are there, or set another root"
        )
    differences = [
        f"{key} is {stored.get(key)} on disk and {value} in the configuration"
        for key, value in record_of(requested).items()
        if stored.get(key) != value
    ]
    if differences:
        raise InputError(
            f"data folder {root} holds a phantom of another configuration "
            f"({', '.join(differences)}); remove it, or set another root"
        )


def _write(config: PhantomConfig, out: Path) -> None:
    base = out / SLICES_FOLDER
    for split in SPLITS:
        for labels in (False, True):
            split_folder(base, split, labels=labels).mkdir(parents=True)
    volumes = list(_volumes(config))
    what = f"writing phantom volumes of {config.slices} slices"
    for volume in track(volumes, what, len(volumes)):
        _write_volume(config, volume, base)
    (out / RECORD).write_text(json.dumps(record_of(config), indent=2) + "\n", encoding="utf-8")


def _volumes(config: PhantomConfig) -> Iterator[_Volume]:
    case = FIRST_CASE
    counts = (config.train_patients, config.validate_patients, config.test_patients)
    for split, patients in zip(SPLITS, counts, strict=True):
        for patient in range(patients):
            first = split == "train" and patient == 0
            last = split == "train" and patient == patients - 1
            for week in range(config.volumes):
                wide = last and week == config.volumes - 1
                yield _Volume(split, case, week, wide=wide, odd_folder=first and week == 0)
            case += 1


def _write_volume(config: PhantomConfig, volume: _Volume, base: Path) -> None:
    patient = sample_patient(np.random.default_rng([config.seed, volume.case, 0]))
    textures = _textures(config, volume.case)
    random = np.random.default_rng([config.seed, volume.case, volume.week + 1])
    visit = sample_visit(random)
    width = config.width * 9 // 8 if volume.wide else config.width
    start = (config.width * 9 // 8 - width) // 2
    pixel = _FIELD_OF_VIEW / config.height
    for number, level in enumerate(levels(config.slices)):
        texture = Texture(*textures[:, number, :, start : start + width])
        section = Section(patient, visit, level, texture, pixel)
        canvas = section.paint()
        paint_organs(section)
        pixels = _receive(canvas.image, visit, random)
        affine = _affine(config, canvas.image.shape, level)
        name = SliceName(volume.case, volume.week, number)
        case = split_folder(base, volume.split) / name.stem("case")
        seg = split_folder(base, volume.split, labels=True) / name.stem("seg")
        odd = volume.odd_folder and number == 0
        for stem, values in ((case, pixels), (seg, canvas.labels)):
            path = _folder_of_its_own(stem) if odd else _with_suffix(stem, number)
            write_image(path, _image(values, affine, number))


@functools.lru_cache(maxsize=1)  # the visits of a patient share them, and they cost the most
def _textures(config: PhantomConfig, case: int) -> NDArray[np.float32]:
    """Smooth noise float32 [5, slices, H, 9/8 W], in the order of `Texture`'s attributes."""
    random = np.random.default_rng([config.seed, case, 0, 1])
    shape = (config.slices, config.height, config.width * 9 // 8)
    step = (HIGHEST - LOWEST) / config.slices
    pixel = _FIELD_OF_VIEW / config.height
    fields = []
    for along_z, along_x, along_y in (  # standard deviations of the smoothing, in mm
        (25, 28, 28),
        (25, 28, 28),
        (7, 5, 5),
        (3, 2, 2),
        (9, 9, 1.5),
    ):
        noise = random.standard_normal(shape, np.float32)
        sigma = (along_z / step, along_x / pixel, along_y / pixel)
        smooth = gaussian_filter(noise, sigma, mode="wrap", truncate=3)
        fields.append(smooth / max(float(smooth.std()), 1e-6))
    return np.stack(fields)


def _receive(image: Field, visit: Visit, random: np.random.Generator) -> NDArray[np.uint16]:
    """Simulate the scanner: coil sensitivity, noise in two channels, gain; uint16 [H, W]."""
    x, y = (axis / 100 for axis in grid(image.shape, 200 / image.shape[1]))
    across, along, skew, bowl = visit.bias
    bias = np.exp(across * x / 2 + along * y + skew * x * y / 2 - abs(bowl) * (x * x / 4 + y * y))
    real, imaginary = visit.noise * random.standard_normal((2, *image.shape), np.float32)
    magnitude = np.hypot(image * bias + real, imaginary)
    counts: NDArray[np.uint16] = np.rint(visit.gain * magnitude).astype(np.uint16)
    return counts


def _affine(config: PhantomConfig, shape: tuple[int, ...], level: float) -> NDArray[np.float64]:
    pixel = _FIELD_OF_VIEW / config.height
    affine = np.diag([-pixel, pixel, (HIGHEST - LOWEST) / config.slices, 1.0])
    affine[:3, 3] = pixel * (shape[0] - 1) / 2, -pixel * (shape[1] - 1) / 2, level
    return affine


def _image(values: NDArray[Any], affine: NDArray[np.float64], number: int) -> Any:
    """The NIfTI image of slice `number`; as in the real data set, some have a third axis."""
    return nibabel.Nifti1Image(values[:, :, None] if number % 4 == 3 else values, affine)


def _with_suffix(stem: Path, number: int) -> Path:
    """The path with a suffix; as in the real data set, some files are not compressed."""
    return stem.with_name(stem.name + (".nii" if number % 5 == 4 else ".nii.gz"))


def _folder_of_its_own(stem: Path) -> Path:
    """The path of a file in a new folder of the same name, as some unzip programs create it."""
    folder = stem.with_name(stem.name + ".nii")
    folder.mkdir()
    return folder / folder.name
