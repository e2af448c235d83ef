import numpy as np
import pytest

from vqvae.errors import InputError
from vqvae.model.code_prior import (
    NEIGHBOURS,
    TOTAL,
    CodePrior,
    _powers,
    _shapes,
    contexts_at,
    padded,
    weights_of,
)


def random_prior(size: int, seed: int = 0) -> CodePrior:
    """Weights of the size that a fit gives."""
    random = np.random.default_rng(seed)
    return CodePrior(*(random.integers(-40, 40, shape) for shape in _shapes(size)))


def test_powers_are_those_of_two() -> None:
    expected = np.floor(2.0**30 * 2.0 ** (-np.arange(256) / 256))
    assert np.abs(_powers() - expected).max() <= 1
    assert _powers()[0] == 2**30


def test_frequencies_are_the_softmax_of_the_network() -> None:
    prior = random_prior(16)
    contexts = np.random.default_rng(1).integers(17, size=(50, len(NEIGHBOURS)))
    x = prior.embedding[contexts].reshape(50, -1) / 256
    first = np.maximum(x @ (prior.first / 256).T + prior.first_bias / 65536, 0)
    second = np.maximum(first @ (prior.second / 256).T + prior.second_bias / 65536, 0)
    rank = second @ (prior.rank / 256).T + prior.rank_bias / 65536
    logits = rank @ (prior.output / 256).T + prior.output_bias / 65536
    expected = 2.0 ** (logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    found = prior.frequencies(contexts)
    assert found.dtype == np.int64
    assert found.min() >= 1
    assert found.sum(1).max() <= TOTAL
    assert found.sum(1).min() > TOTAL - 2 * 16
    # The result is near that of real numbers; every layer is rounded to 1/256.
    sure = expected.max(1) > 0.99
    assert (found.argmax(1) == expected.argmax(1))[sure].all()


def test_frequencies_do_not_depend_on_the_batch() -> None:
    prior = random_prior(64)
    contexts = np.random.default_rng(1).integers(65, size=(200, len(NEIGHBOURS)))
    together = prior.frequencies(contexts)
    single = np.concatenate([prior.frequencies(each[None]) for each in contexts])
    assert np.array_equal(together, single)


def test_the_largest_weights_do_not_overflow() -> None:
    limits = [(2**30 if len(shape) == 1 else 2**15 - 1) for shape in _shapes(16)]
    shapes = zip(_shapes(16), limits, strict=True)
    prior = CodePrior(*(np.full(shape, limit, np.int64) for shape, limit in shapes))
    found = prior.frequencies(np.zeros((1, len(NEIGHBOURS)), np.int64))
    assert (found == found[0, 0]).all()


def test_weights_survive_the_file() -> None:
    prior = random_prior(7)
    again = CodePrior.from_bytes(prior.to_bytes())
    assert all(np.array_equal(a, b) for a, b in zip(*map(vars_of, (prior, again)), strict=True))
    for content in (b"", b"VQP\x01", prior.to_bytes()[:-1], prior.to_bytes() + b"x", b"x" * 50):
        with pytest.raises(InputError, match="code statistics of a model"):
            CodePrior.from_bytes(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [("first", 2**15), ("output", -(2**15)), ("embedding", 2**31 - 1), ("first_bias", 2**30 + 1)],
)
def test_weights_with_which_machines_could_disagree_are_refused(name: str, value: int) -> None:
    prior = random_prior(7)
    getattr(prior, name).flat[3] = value
    with pytest.raises(InputError, match=f"but {name} is too large"):
        CodePrior.from_bytes(prior.to_bytes())


def vars_of(prior: CodePrior) -> list[np.ndarray]:
    return list(vars(prior).values())


def test_weights_are_scaled_and_logarithms_get_base_two() -> None:
    floats = {
        name: np.full(shape, 0.5)
        for name, shape in zip(vars(random_prior(4)), _shapes(4), strict=True)
    }
    prior = weights_of(floats)
    assert prior.first[0, 0] == 128
    assert prior.first_bias[0] == 32768
    assert prior.output_bias[0] == round(0.5 / np.log(2) * 65536)


def test_neighbours_lie_to_the_left_and_above() -> None:
    codes = np.arange(2 * 4 * 5).reshape(2, 4, 5)
    border = padded(codes, 99)
    found = contexts_at(border, 2, slice(0, 5))
    assert found.shape == (5, 2, len(NEIGHBOURS))
    for column in range(5):
        for place, (down, right) in enumerate(NEIGHBOURS):
            row, at = 2 + down, column + right
            inside = 0 <= row < 4 and 0 <= at < 5
            expected = codes[:, row, at] if inside else [99, 99]
            assert found[column, :, place].tolist() == list(expected)
            assert (down, right) < (0, 0)
