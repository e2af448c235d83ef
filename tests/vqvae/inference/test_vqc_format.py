import contextlib
import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vqvae.model.test_code_prior import random_prior
from vqvae.data.intensity import Window
from vqvae.errors import InputError
from vqvae.inference.byte_stream import to_varint
from vqvae.inference.vqc_format import Coded, pack, short_window, unpack
from vqvae.model.code_prior import CodePrior


@dataclass(frozen=True)
class Model:
    """What the format must know of a model."""

    codebook_size: int = 512
    code_prior: CodePrior | None = None
    identity: str = "ab" * 32
    stride: int = 4


def scan(size: int = 512, slices: int = 2, *, plain: bool = False) -> Coded:
    """A coded scan; a plain one uses only two codes, so that entropy coding makes it smaller."""
    random = np.random.default_rng(0)
    return Coded(
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
@pytest.mark.parametrize("size", [2, 3, 16, 500, 512, 4096, 65536, 65537, 2**24])
def test_what_is_unpacked_is_what_was_packed(size: int, plain: bool) -> None:
    coded, model = scan(size, plain=plain), Model(size)

    assert same(unpack(pack(coded, model), model), coded)


@pytest.mark.parametrize("size", [2, 16, 512])
def test_a_model_with_statistics_decodes_what_it_coded(size: int) -> None:
    coded, model = scan(size, 3), Model(size, random_prior(size))

    assert same(unpack(pack(coded, model), model), coded)


def test_codes_take_no_more_than_their_bits() -> None:
    one, ten = (len(pack(scan(512, slices), Model())) for slices in (1, 10))

    # 70 codes of 9 bits; a window that is no float32 is 16 bytes.
    assert (ten - one) / 9 <= 70 * 9 / 8 + 16 + 1


def test_codes_that_are_used_unevenly_take_fewer_bytes() -> None:
    assert len(pack(scan(512, 10, plain=True), Model())) < len(pack(scan(512, 10), Model())) - 400


@pytest.mark.parametrize(
    ("window", "length"),
    [(Window(0.0, 640.25), 5), (Window(-70000.0, 1e6), 7), (Window(0.5, 3.0), 8)],
)
def test_intensities_are_stored_exactly_in_few_bytes(window: Window, length: int) -> None:
    one = replace(scan(slices=1), windows=(window,))
    double = replace(one, windows=(Window(0.1, 0.3),))
    assert unpack(pack(one, Model()), Model()).windows == (window,)
    assert len(pack(double, Model())) - len(pack(one, Model())) == 16 - length


@given(st.floats(-1e5, 1e5, width=32), st.floats(2**-20, 1e5))
def test_a_short_window_restores_the_same_float32(low: float, extent: float) -> None:
    window = Window(low, low + extent)
    short = short_window(window)
    for one in (window, short):
        numbers = np.array([one.low, one.high - one.low], np.float32)
        expected = np.array([window.low, window.high - window.low], np.float32)
        assert np.array_equal(numbers, expected)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        unpack(content, Model())


WHOLE = pack(scan(plain=True), Model())


def sealed(content: bytes) -> bytes:
    """The content with a correct checksum, as a hostile file would have it."""
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


@given(st.integers(0, len(WHOLE) - 5), st.integers(1, 255), st.integers(0, 3))
def test_any_change_is_read_or_refused(at: int, by: int, more: int) -> None:
    content = bytearray(WHOLE)
    for index in range(at, min(at + more + 1, len(WHOLE) - 4)):
        content[index] ^= by
    with pytest.raises(InputError):
        unpack(bytes(content), Model())
    with contextlib.suppress(InputError):
        found = unpack(sealed(bytes(content)), Model())
        assert 0 <= found.indices.min() <= found.indices.max() < 512


@pytest.mark.parametrize("keep", range(0, len(WHOLE), 3))
def test_a_file_that_is_cut_short_is_refused(keep: int) -> None:
    with pytest.raises(InputError, match=r"not a coded scan|another version|truncated"):
        unpack(WHOLE[:keep], Model())


def test_another_model_and_another_version_are_named() -> None:
    with pytest.raises(InputError, match=r"from model abababab, not from cdcdcdcd; give --model"):
        unpack(WHOLE, Model(identity="cd" * 32))
    with pytest.raises(InputError, match="of another version; encode the scan again"):
        unpack(WHOLE[:3] + b"\x01" + WHOLE[4:], Model())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 26, 2), "impossible sizes"),
        ((2**30, 2**30, 2**14), "impossible sizes"),
        ((1, 1, 2**20), "impossible sizes"),
        ((37, 26, 2**14), "header is too short|impossible sizes"),
    ],
)
def test_false_sizes_are_refused_before_memory_is_allocated(
    sizes: tuple[int, int, int], message: str
) -> None:
    old = b"".join(map(to_varint, (37, 26, 2)))
    new = b"".join(map(to_varint, sizes))
    assert WHOLE[9 : 9 + len(old)] == old
    with pytest.raises(InputError, match=message):
        unpack(sealed(WHOLE[:9] + new + WHOLE[9 + len(old) :]), Model())


def test_methods_that_do_not_exist_are_refused() -> None:
    for how, message in ((3, "codes are stored by method 3"), (12, "intensities are stored by")):
        content = WHOLE[:8] + bytes([how | (WHOLE[8] & 12 if how == 3 else 0)]) + WHOLE[9:]
        with pytest.raises(InputError, match=message):
            unpack(sealed(content), Model())


def test_packed_codes_beyond_the_codebook_or_too_few_are_refused() -> None:
    content = pack(scan(512), Model())
    assert content[8] & 3 == 0
    with pytest.raises(InputError, match="a code is beyond the codebook's 300"):
        unpack(content, Model(300))
    with pytest.raises(InputError, match="more or fewer codes"):
        unpack(sealed(content[:-5] + content[-4:]), Model())


def test_a_scan_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(InputError, match="split it into smaller volumes"):
        pack(replace(scan(), height=60000, width=60000), Model())
