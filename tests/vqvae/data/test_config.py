import subprocess
import sys

import pytest
from pydantic import ValidationError

from vqvae.data.config import DataConfig, PhantomConfig


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        DataConfig.model_validate({"rot": "data"})


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DataConfig().on_bad_slice = "skip"  # type: ignore[misc]


@pytest.mark.parametrize("values", [{"width": 33}, {"train_patients": 0}, {"seed": -1}])
def test_bounds(values: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        PhantomConfig.model_validate(values)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("vqvae.data.config", {"numpy", "nibabel", "torch", "scipy", "rich"}),
        ("vqvae.data.splits", {"torch"}),
        ("vqvae.cli.data", {"torch"}),
    ],
)
def test_imports_stay_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not heavy & set(loaded.stdout.split())
