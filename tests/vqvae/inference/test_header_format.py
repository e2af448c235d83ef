import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqvae.data.nifti import pack_header
from vqvae.errors import InputError
from vqvae.inference.byte_stream import Reader, to_varint, to_zigzag
from vqvae.inference.header_format import pack_header_bytes, unpack_header_bytes

OBLIQUE = np.array(
    [[1.5, 0.0, 0.0, -99.03], [0.0, 1.46, -0.685, -117.6], [0.0, 0.3425, 2.92, 13.8], [0, 0, 0, 1]]
)


def header(affine: np.ndarray | None, shape: tuple[int, ...] = (40, 30), kind: str = "1") -> bytes:
    made = {"1": nibabel.Nifti1Image, "2": nibabel.Nifti2Image}[kind]
    return pack_header(made(np.zeros(shape, np.float32), affine).header)


def restored(content: bytes, slices: int = 1) -> tuple[bytes, int]:
    packed = pack_header_bytes(content, 40, 30, slices)
    reader = Reader(packed + b"codes")
    found = unpack_header_bytes(reader, 40, 30, slices)
    assert reader.rest() == b"codes"
    return found, len(packed)


@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE, None])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 7), (40, 30, 1, 7)])
def test_a_header_is_restored_exactly(affine: np.ndarray | None, shape: tuple[int, ...]) -> None:
    content = header(affine, shape)
    assert restored(content, 1 if len(shape) == 2 else 7)[0] == content


def test_an_oblique_affine_takes_few_bytes() -> None:
    content = header(OBLIQUE)
    assert len(content) == 352
    assert restored(content)[1] < 75


def test_the_headers_of_nifti_2_and_with_extensions_are_restored() -> None:
    assert restored(header(OBLIQUE, kind="2"))[0] == header(OBLIQUE, kind="2")
    image = nibabel.Nifti1Image(np.zeros((40, 30), np.float32), OBLIQUE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a comment"))
    content = pack_header(image.header)
    assert restored(content)[0] == content


@given(st.binary(min_size=352, max_size=352))
def test_any_352_bytes_are_restored(content: bytes) -> None:
    assert restored(content)[0] == content


@given(st.binary(max_size=120))
def test_any_bytes_give_a_header_or_are_refused(content: bytes) -> None:
    try:
        found = unpack_header_bytes(Reader(content), 40, 30, 1)
    except InputError:
        return
    assert len(found) <= 2**24


def test_a_decompression_bomb_is_not_decompressed() -> None:
    import zlib

    bomb = zlib.compress(bytes(100_000_000), 9)
    content = bytes([0]) + to_varint(500) + to_varint(len(bomb)) + bomb
    with pytest.raises(InputError, match="its header has another length"):
        unpack_header_bytes(Reader(content), 40, 30, 1)
    content = bytes([0]) + to_varint(2**30) + to_varint(len(bomb)) + bomb
    with pytest.raises(InputError, match="impossible sizes"):
        unpack_header_bytes(Reader(content), 40, 30, 1)


@given(st.integers(-(2**31), 2**31 - 1))
def test_numbers_survive(number: int) -> None:
    content = to_varint(to_zigzag(number))
    assert Reader(content).zigzag() == number
    assert len(content) <= 5
