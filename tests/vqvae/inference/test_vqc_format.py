import contextlib
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqvae.data.intensity import Window
from vqvae.errors import InputError
from vqvae.inference.vqc_format import Coded, pack, unpack


def scan(size: int = 512, slices: int = 2, *, plain: bool = False) -> Coded:
    """A coded scan; a plain one uses only two codes, so that LZMA makes it much smaller."""
    random = np.random.default_rng(0)
    return Coded(
        identity="ab" * 32,
        codebook_size=size,
        stride=4,
        height=37,
        width=26,
        windows=tuple(Window(-1.5 * at, 1000.1 + at) for at in range(slices)),
        header=b"a header" * 50,
        indices=random.integers(2 if plain else size, size=(slices, 10, 7)),
    )


def same(one: Coded, other: Coded) -> bool:
    blank = np.zeros(1)
    return (
        np.array_equal(one.indices, other.indices)
        and replace(one, indices=blank).__repr__() == replace(other, indices=blank).__repr__()
    )


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("size", [2, 3, 16, 500, 512, 65536, 65537, 2**24])
def test_what_is_unpacked_is_what_was_packed(size: int, plain: bool) -> None:
    coded = scan(size, plain=plain)

    assert same(unpack(pack(coded)), coded)


def test_codes_take_no_more_than_their_bits() -> None:
    one, ten = (len(pack(scan(512, slices))) for slices in (1, 10))

    # 70 codes of 9 bits; a window is 16 bytes before it is compressed.
    assert (ten - one) / 9 <= 70 * 9 / 8 + 16


def test_codes_that_are_used_unevenly_take_fewer_bytes() -> None:
    assert len(pack(scan(512, 10, plain=True))) < len(pack(scan(512, 10))) - 400


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        unpack(content)


WHOLE = pack(scan(plain=True))


def sealed(content: bytes) -> bytes:
    """The content with a correct checksum, as a hostile file would have it."""
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


@given(st.integers(0, len(WHOLE) - 5), st.integers(1, 255), st.integers(0, 3))
def test_any_change_is_read_or_refused(at: int, by: int, more: int) -> None:
    content = bytearray(WHOLE)
    for index in range(at, min(at + more + 1, len(WHOLE) - 4)):
        content[index] ^= by
    with pytest.raises(InputError):
        unpack(bytes(content))
    with contextlib.suppress(InputError):
        found = unpack(sealed(bytes(content)))
        assert 0 <= found.indices.min() <= found.indices.max() < found.codebook_size


@pytest.mark.parametrize("keep", [0, 3, 4, 40, 62, 100, len(WHOLE) - 1])
def test_a_file_that_is_cut_short_is_refused(keep: int) -> None:
    with pytest.raises(InputError, match=r"not a coded scan|another version|truncated"):
        unpack(WHOLE[:keep])


@pytest.mark.parametrize(
    ("at", "form", "value", "message"),
    [
        (0, "<4s", b"\x89PNG", "does not start with VQC"),
        (3, "<B", 2, "of another version"),
        (4, "<B", 9, "stored by method 9; the valid ones are 0 and 1"),
        (5, "<B", 0, "its header has impossible sizes"),
        (6, "<I", 1, "its header has impossible sizes"),
        (10, "<HHI", (65535, 65535, 2**32 - 1), "its header has impossible sizes"),
        (10, "<HHI", (1, 1, 2**21), "its header has impossible sizes"),  # each slice has a window
        (10, "<HHI", (4000, 4000, 2), "more or fewer codes than its size says"),
        (14, "<I", 0, "its header has impossible sizes"),
        (22, "<I", 2**32 - 1, "its header has impossible sizes"),
        (22, "<I", 10**6, "its description has another length"),
    ],
)
def test_a_false_header_is_refused_before_memory_is_allocated(
    at: int, form: str, value: object, message: str
) -> None:
    content = bytearray(WHOLE)
    struct.pack_into(form, content, at, *(value if isinstance(value, tuple) else (value,)))

    with pytest.raises(InputError, match=message):
        unpack(sealed(bytes(content)))


def test_a_decompression_bomb_is_not_decompressed() -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    content = pack(replace(scan(), header=b"x"))
    head = bytearray(content[:62])
    described = zlib.decompress(content[62 : 62 + struct.unpack_from("<I", content, 18)[0]])
    assert len(described) == 33
    codes = content[62 + struct.unpack_from("<I", content, 18)[0] : -4]
    struct.pack_into("<I", head, 18, len(bomb))

    with pytest.raises(InputError, match="its description has another length"):
        unpack(sealed(bytes(head) + bomb + codes + bytes(4)))


def test_a_code_beyond_the_codebook_is_refused() -> None:
    content = bytearray(pack(scan(512)))
    struct.pack_into("<I", content, 6, 300)  # as many bits each, fewer codes

    with pytest.raises(InputError, match="a code is beyond the codebook's 300"):
        unpack(sealed(bytes(content)))


def test_a_scan_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(InputError, match="split it into smaller volumes"):
        pack(replace(scan(), height=60000, width=60000))
