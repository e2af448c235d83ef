"""Planning an import: which file is which volume of which patient, and what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from vqvae.data.importing.division import divide
from vqvae.data.importing.labels import Sorted, sort_volumes
from vqvae.data.importing.patients import Patients, group_by_patient
from vqvae.data.importing.sources import (
    File,
    VolumeFiles,
    find_files,
    read_grids,
    volumes_of,
    week_of,
)
from vqvae.data.nifti import inner_file
from vqvae.data.progress import track
from vqvae.errors import InputError


class LabelMaps(StrEnum):
    """What happens to label maps."""

    LEAVE_OUT = "leave-out"
    IMPORT = "import"
    """They become the segmentations of their scans."""
    SCANS = "scans"
    """They are not looked for: every volume is a scan."""


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        sources: files and folders.
        pattern: finds the patient in a path; see `group_by_patient`.
        shares: of the splits; see `divide`.
        seed: of the division of the patients.
        label_maps: what happens to label maps.
    """

    sources: tuple[Path, ...]
    pattern: str | None = None
    shares: str = "0.7,0.15,0.15"
    seed: int = 0
    label_maps: LabelMaps = LabelMaps.LEAVE_OUT


@dataclass(frozen=True)
class Volume:
    """One volume: its files, and its case and week in the layout."""

    patient: str
    """The patient's name in the source files."""
    case: int
    week: int
    files: VolumeFiles
    label_files: VolumeFiles = ()
    """The files of its label map, as many as its own; none without a label map."""


@dataclass(frozen=True)
class Plan:
    """What will be imported.

    Attributes:
        request: what was asked for.
        patients: the files by patient.
        volumes: the volumes, in the order of patients and weeks.
        left_out: one line for each path that leads to something that is read already, and for each
            label map that belongs to no scan.
        label_maps: one line for each label map that is left out because that was asked for.
        failed: one line for each file, folder or link that cannot be read.
    """

    request: Request
    patients: Patients
    volumes: tuple[Volume, ...]
    left_out: tuple[str, ...]
    label_maps: tuple[str, ...]
    failed: tuple[str, ...]


def plan_import(request: Request) -> Plan:
    """Find the scans and their patients, and sort out label maps.

    Raises:
        InputError: a source is missing or has no readable scan, a patient cannot be found in some
            path, or the patients cannot be divided as asked.
    """
    found = read_grids(find_files(request.sources))
    if not found.files:
        raise InputError(f"no file can be read; {found.failed[0]}")
    patients = group_by_patient(found.files, request.pattern)
    sorting = _Sorting(request.label_maps)
    steps = track(patients.files.items(), "looking for label maps", len(patients.files))
    for patient, files in steps:
        sorting.add(patient, files)
    if not sorting.scans:
        raise InputError(
            f"all files are label maps, such as {found.files[0].path}; if they are scans, give "
            "--labels scans"
        )
    used = replace(patients, files={name: patients.files[name] for name in sorting.scans})
    _check_shares(request, list(sorting.scans), found.failed)
    cases = used.cases()
    volumes = [
        volume
        for patient, scans in sorting.scans.items()
        for volume in _placed(patient, cases[patient], scans)
    ]
    return Plan(
        request=request,
        patients=used,
        volumes=tuple(volumes),
        left_out=(*found.left_out, *sorting.left_out),
        label_maps=tuple(sorting.label_maps),
        failed=found.failed,
    )


def _check_shares(request: Request, patients: Sequence[str], failed: Sequence[str]) -> None:
    """Check before the long work that the patients can be divided as asked.

    They are divided after it: patients whose scans turn out to be bad take no part.

    Raises:
        InputError: they cannot; patients who are not counted are named.
    """
    try:
        divide(patients, request.shares, request.seed)
    except InputError as error:
        not_counted = f"; not counted: {failed[0]}" if failed else ""
        raise InputError(f"{error}{not_counted}") from error


_ScanFiles = tuple[VolumeFiles, VolumeFiles]
"""The files of a scan, and those of its label map."""


@dataclass
class _Sorting:
    """The scans of each patient who has one, and a line for everything that is left out."""

    choice: LabelMaps
    scans: dict[str, list[_ScanFiles]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    label_maps: list[str] = field(default_factory=list)
    _read: dict[Path, File] = field(default_factory=dict)
    """The file that is read for each path without links."""

    def add(self, patient: str, files: Sequence[File]) -> None:
        found = _sorted(files, self.choice)
        importing = self.choice is LabelMaps.IMPORT
        self.left_out += found.problems if importing else ()
        if not importing:
            self.label_maps += [f"{one.path} ({one.labels} labels)" for one in found.label_maps]
        for at, scan in enumerate(found.scans):
            if self._is_new(scan):
                labels = found.chosen[at].files if importing and at in found.chosen else ()
                self.scans.setdefault(patient, []).append((scan, labels))

    def _is_new(self, scan: VolumeFiles) -> bool:
        """Whether no file of a scan was read under another path; note the scan if one was.

        Otherwise one scan could be in two splits, as the scan of two patients.
        """
        real = [inner_file(file.path).resolve() for file in scan]
        known = [self._read.get(path) for path in real]
        shared = next((file.path for file, other in zip(scan, known, strict=True) if other), None)
        if shared is not None:
            for file, other in zip(scan, known, strict=True):
                reason = f"the same file as {other.path}, which is read already" if other else None
                reason = reason or f"a slice of one volume with {shared}, which is left out"
                self.left_out.append(f"{file.path}: {reason}")
            return False
        self._read.update(zip(real, scan, strict=True))
        return True


def _sorted(files: Sequence[File], label_maps: LabelMaps) -> Sorted:
    if label_maps is LabelMaps.SCANS:
        return Sorted(tuple(volumes_of(files)), (), {}, ())
    return sort_volumes(files)


def _placed(patient: str, case: int, scans: Sequence[_ScanFiles]) -> list[Volume]:
    """Give each volume of a patient a week: the one in its path, or else its rank from 0.

    The week in the path counts if all volumes of the patient have different ones.
    """
    weeks = [week_of(scan[0]) for scan, _ in scans]
    if None in weeks or len(set(weeks)) < len(weeks):
        weeks = list(range(len(scans)))
    return [
        Volume(patient, case, week or 0, scan, labels)
        for week, (scan, labels) in zip(weeks, scans, strict=True)
    ]
