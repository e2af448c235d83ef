import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqvae.data.nifti import read_slice
from vqvae.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 999, (64, 64)).astype(np.int16)
MEMBER = gzip.compress(b"of another file", mtime=0)
BEHIND = {
    "garbage": b"\x00\x01garbage",
    "the start of a member": MEMBER[:-9],
    "a damaged member": MEMBER[:12] + b"?" + MEMBER[13:],
}


@pytest.fixture(params=[PIXELS, PIXELS[:12, :12]], ids=["large", "smaller than a header"])
def pixels(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_bytes_behind_the_image_are_ignored_with_a_warning(
    tmp_path: Path,
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    pixels: np.ndarray,
    behind: bytes,
) -> None:
    path = write(tmp_path / "a.nii.gz", pixels)
    path.write_bytes(path.read_bytes() + behind)
    with caplog.at_level(logging.WARNING):
        scan = read_slice(path)

    np.testing.assert_array_equal(scan.pixels, pixels)
    line = f"{path}: bytes behind the end of the compressed image are ignored"
    assert [record.getMessage() for record in caplog.records] == [line]


@pytest.mark.parametrize("behind", [b"", bytes(512), MEMBER])
def test_zeros_and_short_members_behind_the_image_are_usual(
    tmp_path: Path,
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    behind: bytes,
) -> None:
    path = write(tmp_path / "a.nii.gz", PIXELS)
    path.write_bytes(path.read_bytes() + behind)

    np.testing.assert_array_equal(read_slice(path).pixels, PIXELS)
    assert not caplog.records


def test_an_image_in_two_members_needs_both(tmp_path: Path, write: Callable[..., Path]) -> None:
    content = gzip.decompress(write(tmp_path / "a.nii.gz", PIXELS).read_bytes())
    first, second = gzip.compress(content[:2000]), gzip.compress(content[2000:])
    path = tmp_path / "b.nii.gz"
    path.write_bytes(first + second)
    np.testing.assert_array_equal(read_slice(path).pixels, PIXELS)
    for damaged in (first, first + second[:-20], first + b"garbage"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"b.nii.gz: not a readable NIfTI file"):
            read_slice(path)


def test_a_wrong_checksum_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "a.nii.gz", PIXELS)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="incorrect data check"):
        read_slice(path)
