import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vqvae.model.test_code_prior import random_prior
from vqvae.inference.entropy_coding import decode_codes, encode_codes
from vqvae.inference.range_coder import Decoder, encode


@given(
    st.integers(1, 600).flatmap(
        lambda size: st.tuples(
            st.lists(st.integers(1, 2**17), min_size=size, max_size=size),
            st.lists(st.integers(0, size - 1), max_size=200),
        )
    )
)
def test_symbols_survive_and_cost_their_entropy(
    given_: tuple[list[int], list[int]],
) -> None:
    frequencies, symbols = given_
    cumulative = np.cumsum(frequencies)
    total = int(cumulative[-1])
    steps = [(int(cumulative[s]) - frequencies[s], frequencies[s], total) for s in symbols]
    content = encode(steps)
    decoder = Decoder(content)
    assert [decoder.symbol(cumulative) for _ in symbols] == symbols
    entropy = sum(math.log2(total / frequency) for _, frequency, _ in steps)
    assert 8 * len(content) <= entropy * 1.001 + 16


def test_bytes_that_nobody_wrote_give_symbols() -> None:
    decoder = Decoder(b"\xff" * 20)
    cumulative = np.array([1, 3, 10])
    assert all(0 <= decoder.symbol(cumulative) <= 2 for _ in range(100))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([2, 3, 16, 200]), st.booleans())
def test_codes_survive(seed: int, size: int, known: bool) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(size, size=random.integers(1, [4, 7, 9]))
    prior = random_prior(size, seed % 7) if known else None
    content = encode_codes(codes, size, prior)
    assert np.array_equal(decode_codes(content, codes.shape, size, prior), codes)


@pytest.mark.parametrize("size", [512, 1024, 4096])
@pytest.mark.parametrize("known", [False, True])
def test_codes_of_a_whole_slice_survive(size: int, known: bool) -> None:
    codes = np.random.default_rng(size).integers(size, size=(2, 16, 16))
    prior = random_prior(size) if known else None
    content = encode_codes(codes, size, prior)
    assert np.array_equal(decode_codes(content, codes.shape, size, prior), codes)


@pytest.mark.parametrize("known", [False, True])
def test_any_bytes_decode_to_codes_of_the_codebook(known: bool) -> None:
    prior = random_prior(16) if known else None
    for content in (b"", b"\0" * 9, b"\xff" * 30, bytes(range(200))):
        codes = decode_codes(content, (2, 5, 6), 16, prior)
        assert codes.shape == (2, 5, 6)
        assert 0 <= codes.min() <= codes.max() < 16


def test_many_slices_are_coded_in_parts_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(16, size=(9, 3, 4))
    prior = random_prior(16)
    whole = encode_codes(codes, 16, prior)
    monkeypatch.setattr("vqvae.inference.entropy_coding._MAX_FREQUENCIES", 40)
    assert encode_codes(codes, 16, prior) == whole
    assert np.array_equal(decode_codes(whole, codes.shape, 16, prior), codes)


def test_a_code_that_occurs_often_gets_cheaper() -> None:
    codes = [np.full((1, side, side), 5) for side in (8, 16, 32)]
    sizes = [len(encode_codes(each, 512, None)) for each in codes]
    assert all(later < 2.5 * earlier for earlier, later in pairwise(sizes))  # of 4 times the codes
