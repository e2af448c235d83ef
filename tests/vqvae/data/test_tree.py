import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vqvae.data.rights import without_rights
from vqvae.data.nifti import is_nifti_name
from vqvae.data.tree import Found, find_below


def make(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def below(folder: Path) -> Found:
    return find_below(folder, is_nifti_name)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach, which `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_linked_folders_and_files_are_found_under_their_own_names(tmp_path: Path) -> None:
    make(tmp_path / "real/patient_4/a.nii.gz", tmp_path / "objects/0f3d", tmp_path / "in/p1/b.nii")
    (tmp_path / "in/patient_4").symlink_to("../real/patient_4")
    (tmp_path / "in/p1/c.nii.gz").symlink_to("../../objects/0f3d")

    found = below(tmp_path / "in")

    assert found.files == (
        tmp_path / "in/p1/b.nii",
        tmp_path / "in/p1/c.nii.gz",
        tmp_path / "in/patient_4/a.nii.gz",
    )
    assert (found.failed, found.repeated) == ((), ())


def test_scans_in_other_formats_are_counted_and_capitals_do_not_matter(tmp_path: Path) -> None:
    make(*(tmp_path / f"p1/{name}" for name in ("a.NII.GZ", "1.dcm", "2.DCM", "x.json", ".3.dcm")))
    make(tmp_path / "p2/b.nii.bz2")

    found = find_below(tmp_path, is_nifti_name)

    assert found.files == (tmp_path / "p1/a.NII.GZ",)
    assert found.unread == (
        f"{tmp_path}/p1: 2 .dcm files not read; convert to .nii.gz what is a scan",
        f"{tmp_path}/p2: 1 .nii.bz2 file not read; convert to .nii.gz what is a scan",
    )


def test_loops_end_and_a_folder_is_read_once_under_its_own_path(tmp_path: Path) -> None:
    make(tmp_path / "z/scan.nii")
    (tmp_path / "z/up").symlink_to("..")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "self").symlink_to("self")

    found = below(tmp_path)

    assert found.files == (tmp_path / "z/scan.nii",)
    assert found.repeated == (
        f"{tmp_path}/a: leads to {tmp_path}/z, which is read already",
        f"{tmp_path}/z/up: leads to {tmp_path}, which is read already",
    )
    reason = "which cannot be read (Too many levels of symbolic links)"
    assert found.failed == (f"{tmp_path}/self: a link to self, {reason}",)


def test_dead_links_are_named_if_they_may_have_been_scans_or_folders(tmp_path: Path) -> None:
    for name, target in (
        ("patient_5", "/nowhere/patient_5"),
        ("P.01", "/nowhere/P.01"),
        ("a.nii.gz", "/nowhere/MD5E-s1--0f"),
        ("notes.txt", "/nowhere/notes.txt"),
    ):
        (tmp_path / name).symlink_to(target)

    assert below(tmp_path).failed == tuple(
        f"{tmp_path}/{name}: a link to {target}, which does not exist"
        for name, target in (
            ("P.01", "/nowhere/P.01"),
            ("a.nii.gz", "/nowhere/MD5E-s1--0f"),
            ("patient_5", "/nowhere/patient_5"),
        )
    )


def test_what_may_not_be_read_is_named(shared: Path) -> None:
    make(shared / "in/p1/a.nii", shared / "in/p2/b.nii", shared / "closed/c.nii")
    (shared / "in/p3.nii").symlink_to("../closed/c.nii")
    closed = (shared / "in/p2", shared / "closed")
    for folder in closed:
        folder.chmod(0)
    with without_rights():
        found = below(shared / "in")
    for folder in closed:
        folder.chmod(0o755)

    assert found.files == (shared / "in/p1/a.nii",)
    assert found.failed == (
        f"{shared}/in/p3.nii: a link to ../closed/c.nii, which cannot be read (Permission denied)",
        f"{shared}/in/p2: the folder cannot be read (Permission denied)",
    )


def test_a_folder_with_the_name_of_its_only_file_is_that_file(tmp_path: Path) -> None:
    make(tmp_path / "scan.nii/scan.nii", tmp_path / "odd.nii.gz/other.nii", tmp_path / ".git/x.nii")

    assert below(tmp_path).files == (tmp_path / "odd.nii.gz/other.nii", tmp_path / "scan.nii")
