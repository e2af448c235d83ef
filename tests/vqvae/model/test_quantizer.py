import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from vqvae.config import ModelConfig
from vqvae.evaluation.metrics import perplexity
from vqvae.model import quantizer
from vqvae.model.quantizer import EmaCodebook, Quantizer


def make(**changes: object) -> Quantizer:
    defaults = {"codebook_size": 8, "code_dimension": 3, "dead_code_threshold_steps": 0}
    module = Quantizer(ModelConfig.model_validate(defaults | changes))
    module.codebook.vectors.data.normal_()
    return module


@pytest.mark.parametrize("at_once", [1, 50, 2**22])
def test_the_nearest_code_is_that_of_an_exhaustive_search(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizer, "_MAX_DISTANCES", at_once)
    vectors, codebook = torch.randn(2, 5, 7, 3), torch.randn(11, 3)

    found = quantizer.nearest_codes(vectors, codebook)

    distances = (vectors[..., None, :] - codebook).square().sum(-1)
    assert torch.equal(found, distances.argmin(-1))


def test_memory_does_not_grow_with_the_codebook() -> None:
    program = (
        "import resource, torch\n"
        "from vqvae.model.quantizer import nearest_codes\n"
        "def peak() -> int: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "vectors, codebook = torch.randn(32768, 16), torch.randn(4096, 16)\n"
        "nearest_codes(vectors[:2048], codebook)\n"
        "before = peak()\n"
        "nearest_codes(vectors, codebook)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # All distances would be 512 MiB. A loop that freed its chunks needed all of it, too.
    assert int(done.stdout) < 64 * 1024, done.stderr


def test_a_vector_has_the_channels_of_one_grid_position() -> None:
    maps = torch.randn(2, 3, 4, 5)

    flat = quantizer.flatten_to_vectors(maps)

    assert torch.equal(flat[1 * 20 + 2 * 5 + 3], maps[1, :, 2, 3])


def test_quantized_values_are_the_nearest_code_vectors() -> None:
    module, encoded = make(), torch.randn(2, 3, 4, 5)

    result = module(encoded)

    assert result.indices.shape == (2, 4, 5)
    torch.testing.assert_close(result.values, module.codes_to_vectors(result.indices))


def test_the_straight_through_gradient_is_one() -> None:
    encoded = torch.randn(2, 3, 4, 5, requires_grad=True)

    make()(encoded).values.sum().backward()

    assert torch.equal(encoded.grad, torch.ones_like(encoded))


def test_each_loss_has_a_gradient_for_its_own_side_only() -> None:
    module, encoded = make(codebook="gradient"), torch.randn(2, 3, 4, 5, requires_grad=True)
    result = module(encoded)
    codes = module.codes_to_vectors(result.indices)

    to_codes = torch.autograd.grad(
        result.codebook_loss,
        [module.codebook.vectors, encoded],
        retain_graph=True,
        allow_unused=True,
    )
    to_encoder = torch.autograd.grad(
        result.commitment_loss, [module.codebook.vectors, encoded], allow_unused=True
    )

    assert to_codes[0] is not None
    assert to_codes[1] is None
    assert to_encoder[0] is None
    torch.testing.assert_close(to_encoder[1], 2 * (encoded - codes) / encoded.numel())
    expected = (encoded - codes).square().mean()
    torch.testing.assert_close(result.codebook_loss, expected)
    torch.testing.assert_close(result.commitment_loss, expected)


def test_moving_averages_equal_a_numpy_reference() -> None:
    size, decay = 6, 0.9
    codebook = EmaCodebook(size, 3, decay)
    codebook.replace_(torch.ones(size, dtype=torch.bool), torch.randn(size, 3))
    vectors = codebook.vectors.double().numpy().copy()
    counts, sums = np.ones(size), vectors.copy()

    for step in range(20):
        batch = torch.randn(30, 3)
        indices = quantizer.nearest_codes(batch, codebook.vectors)
        codebook.update_(batch, indices)
        for code in range(size):
            chosen_by = batch.double().numpy()[indices.numpy() == code]
            counts[code] = decay * counts[code] + (1 - decay) * len(chosen_by)
            sums[code] = decay * sums[code] + (1 - decay) * chosen_by.sum(0)
            if len(chosen_by):
                vectors[code] = sums[code] / counts[code]
        np.testing.assert_allclose(codebook.vectors, vectors, rtol=1e-4, atol=1e-5, err_msg=step)


def test_an_unused_code_never_moves() -> None:
    codebook = EmaCodebook(2, 3, decay=0.5)
    codebook.replace_(torch.tensor([True, True]), torch.tensor([[0.0] * 3, [100.0] * 3]))

    for _ in range(300):
        codebook.update_(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))

    assert torch.equal(codebook.vectors[1], torch.full((3,), 100.0))
    assert codebook.vectors.abs().max() <= 100


def test_the_codebook_is_initialized_with_vectors_of_the_first_batch() -> None:
    module, encoded = make(), torch.randn(1, 3, 2, 2)

    module.init_codebook_(encoded, torch.Generator().manual_seed(1))

    rows = {tuple(row) for row in quantizer.flatten_to_vectors(encoded).tolist()}
    assert {tuple(row) for row in module.codebook.vectors.tolist()} == rows


@pytest.mark.parametrize("kind", ["ema", "gradient"])
def test_a_dead_code_is_replaced_after_the_threshold(kind: str) -> None:
    module = make(codebook=kind, dead_code_threshold_steps=3)
    module.codebook.vectors.data[5] = 1000.0
    generator = torch.Generator().manual_seed(1)

    for batch in range(3):
        assert module.codebook.vectors.data[5, 0] == 1000, batch
        encoded = torch.randn(1, 3, 8, 8)
        module.update_(encoded, module(encoded).indices, generator)

    rows = quantizer.flatten_to_vectors(encoded).tolist()
    assert module.codebook.vectors.data[5].tolist() in rows
    assert module.idle[5] == 0


def test_samples_are_repeatable_from_the_generators_state() -> None:
    errors, generator = torch.rand(50), torch.Generator().manual_seed(3)
    state = generator.get_state()
    first = quantizer.sample_by_error(errors, 10, generator)

    generator.set_state(state)

    assert torch.equal(quantizer.sample_by_error(errors, 10, generator), first)


def test_vectors_without_error_are_not_sampled() -> None:
    errors = torch.tensor([0.0, 0.0, 1.0, 0.0, 3.0])

    samples = quantizer.sample_by_error(errors, 4000, torch.Generator().manual_seed(0))

    assert set(samples.tolist()) == {2, 4}
    assert 0.7 < (samples == 4).double().mean() < 0.8


@pytest.mark.parametrize("errors", [torch.zeros(3), torch.full((3,), math.nan)])
def test_samples_are_valid_for_errors_of_zero_or_nan(errors: torch.Tensor) -> None:
    samples = quantizer.sample_by_error(errors, 5, torch.Generator())

    assert ((samples >= 0) & (samples < 3)).all()


def test_code_counts_cover_every_position() -> None:
    indices = torch.randint(0, 5, (2, 3, 4))

    assert torch.equal(
        quantizer.code_counts(indices, 5), torch.bincount(indices.flatten(), minlength=5)
    )


def test_the_quantizer_computes_in_float32_under_autocast() -> None:
    module, encoded = make(), torch.randn(1, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = module(encoded)

    assert result.values.dtype == torch.float32
    assert torch.equal(result.indices, module(encoded).indices)
    torch.testing.assert_close(result.commitment_loss, module(encoded).commitment_loss)


def test_perplexity_lies_between_one_and_the_number_of_codes() -> None:
    assert perplexity(torch.tensor([0, 9, 0, 0])) == 1
    assert perplexity(torch.full((7,), 3)) == pytest.approx(7)
    assert 1 < perplexity(torch.tensor([1, 2, 3, 0])) < 3
