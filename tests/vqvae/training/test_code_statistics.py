import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.vqvae.conftest import tiny
from vqvae.config import DataConfig, ModelConfig
from vqvae.data.batches import Images
from vqvae.errors import InputError
from vqvae.inference.entropy_coding import encode_codes
from vqvae.model.code_prior import FILE, LARGEST_CODEBOOK
from vqvae.model.vqvae import VQVAE
from vqvae.training.checkpoint import load_model
from vqvae.training.code_prior_file import write_code_prior
from vqvae.training.code_statistics import _copies, fit_code_prior, with_statistics


def stripes(images: int) -> Images:
    """Images whose codes can be foreseen: stripes of a random period."""
    random = np.random.default_rng(0)
    rows = np.arange(64)[:, None] + np.zeros(64)
    periods, phases = random.integers(9, 20, images), random.uniform(0, 6, images)
    waves = [np.sin(rows / p * 6.28 + f) for p, f in zip(periods, phases, strict=True)]
    host = (((np.stack(waves) + 1) * 32767).astype(np.uint16),)
    return Images(host, None, torch.device("cpu"), torch.contiguous_format)


def test_foreseeable_codes_get_cheap() -> None:
    torch.manual_seed(0)
    config = {"width": 8, "residual_width": 4, "codebook_size": 32, "code_dimension": 3}
    model = VQVAE(ModelConfig.model_validate(config)).eval()
    train = stripes(24)
    with torch.no_grad():
        vectors = model.to_vectors(next(train.in_order(24)))
        model.quantizer.init_codebook_(vectors, torch.Generator().manual_seed(0))
        codes = model.encode(next(stripes(3).in_order(3))).numpy()
    prior = fit_code_prior(model, train)
    assert prior is not None
    known, learnt = (len(encode_codes(codes, 32, each)) for each in (prior, None))
    assert known < 0.7 * learnt


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((700_000, 300_000), 24 * 25), ((700_000, 100), 24), ((12 * 256, 100), 12), ((4 * 256, 9), 4)],
)
def test_few_slices_are_copied_and_of_many_some_are_taken_evenly(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], expected: int
) -> None:
    monkeypatch.setattr("vqvae.training.code_statistics._MAX_POSITIONS", limits[0])
    monkeypatch.setattr("vqvae.training.code_statistics._FEW_POSITIONS", limits[1])
    config = {"width": 2, "residual_width": 1, "codebook_size": 4, "code_dimension": 1}
    model = VQVAE(ModelConfig.model_validate(config)).eval()
    assert sum(len(codes) for codes in _copies(model, stripes(24))) == expected


def test_a_very_large_codebook_has_no_statistics() -> None:
    config = {"width": 2, "codebook_size": LARGEST_CODEBOOK + 1, "code_dimension": 1}
    assert fit_code_prior(VQVAE(ModelConfig.model_validate(config)), stripes(1)) is None


def test_statistics_belong_to_one_model(trained: Path, data: DataConfig, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    (folder / FILE).unlink(missing_ok=True)
    model, _ = load_model(folder)
    assert model.code_prior is None
    before = model.identity
    prior = with_statistics(tiny(data), model).code_prior
    assert prior is not None
    assert model.identity != before
    write_code_prior(folder, model, prior)
    again, _ = load_model(folder)
    assert again.identity == model.identity
    with torch.no_grad():
        next(iter(again.parameters())).add_(1.0)
    write_code_prior(folder, again, prior)
    other, _ = load_model(folder)
    assert other.code_prior is None
    assert other.identity == before
    write_code_prior(folder, model, prior)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-3])
    with pytest.raises(InputError, match=f"{FILE}: the code statistics of a model, but truncated"):
        load_model(folder)
