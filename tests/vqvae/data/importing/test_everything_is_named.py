"""Whatever a tree contains: each file is imported, or there is a line about it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vqvae.data.rights import without_rights
from vqvae.data.importing.convert import write_import
from vqvae.data.importing.plan import LabelMaps, Request, plan_import
from vqvae.data.importing.record import Options

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
CONTENTS = (*TYPES, "labels", "damaged", "nan", "small", "two volumes", "empty", "complex")
PLACES = ("folder", "link to a folder", "link to a file", "dead link", "closed folder", "loop")
NAMES = ("T2", "a#b?c%20", "mask", "m\udcfcller", "x" * 200, "line\nbreak", "-T1", "Week3 T2")


@dataclass(frozen=True)
class Scan:
    """One generated file."""

    patient: int
    name: str
    content: str
    place: str


scans = st.builds(
    Scan,
    st.integers(1, 6),
    st.sampled_from(NAMES),
    st.sampled_from(CONTENTS),
    st.sampled_from(PLACES),
)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach, which `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@given(st.lists(scans, max_size=7), st.sampled_from(LabelMaps), st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_file_is_imported_or_named(
    shared: Path, generated: list[Scan], label_maps: LabelMaps, fill: bool
) -> None:
    root = Path(tempfile.mkdtemp(dir=shared))
    root.chmod(0o777)
    # Three good patients, so that every split has a slice.
    sure = [Scan(patient, "sure", "i2", "folder") for patient in (7, 8, 9)]
    with ExitStack() as closed:
        paths = [write(root, scan, f"{at}", closed) for at, scan in enumerate([*sure, *generated])]
        with without_rights():
            request = Request((root / "in",), r"patient_\d+", label_maps=label_maps)
            options = Options(min_tissue=0, fill_background=fill, skip_bad=True)
            plan = plan_import(request)
            result = write_import(plan, root / "out", options)
    lines = [*plan.left_out, *plan.label_maps, *result.failed]
    used = {str(file.path) for one in result.volumes for file in one.volume.files}
    used |= {str(file.path) for one in result.volumes for file in one.volume.label_files}
    for path in paths:
        named = [line for line in lines if line.startswith(str(path))]
        inside = [line for line in lines if line.startswith(f"{path.parent}:")]
        assert (str(path) in used) != bool(named or inside), (path, lines)


def write(root: Path, scan: Scan, unique: str, closed: ExitStack) -> Path:
    """Write one scan at its place; return the path at which a person sees it."""
    patient = root / "in" / f"patient_{scan.patient}"
    patient.mkdir(parents=True, exist_ok=True)
    name = f"{unique}{scan.name}.nii.gz"
    store = root / "store" / unique
    store.mkdir(parents=True)
    path = patient / unique / name
    if scan.place in ("folder", "closed folder", "loop"):
        path.parent.mkdir()
        fill(path, scan.content, int(unique))
    if scan.place == "closed folder":
        path.parent.chmod(0)
        closed.callback(path.parent.chmod, 0o755)
    if scan.place == "loop":
        (path.parent / "loop").symlink_to("..")
    if scan.place == "link to a folder":
        fill(store / name, scan.content, int(unique))
        path.parent.symlink_to(store)
    if scan.place in ("link to a file", "dead link"):
        path = patient / name
        path.symlink_to(store / "object")
        if scan.place == "link to a file":
            fill(store / "object", scan.content, int(unique))
    return path


def fill(path: Path, content: str, seed: int) -> None:
    """Write a NIfTI file of that content."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 120, (14, 12, 2)).astype(np.float64)
    dtype = content if content in TYPES else "f4"
    if content == "labels":
        values, dtype = (values > 60).astype(float), "u1"
    if content == "nan":
        values[:3] = np.nan
    if content == "small":
        values = values[:5]
    if content == "two volumes":
        values = np.stack([values, values], -1)
    if content == "complex":
        dtype = "c8"
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(values.astype(dtype), np.eye(4), header)
    written = {"damaged": image.to_bytes()[:900], "empty": b""}.get(content, image.to_bytes())
    path.write_bytes(written)
