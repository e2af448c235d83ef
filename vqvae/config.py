"""The configuration of a model and of its training, and the reading of it from TOML.

It stands apart from the modules that use it because they import torch, and looking at a
configuration must not cost that.
"""

import difflib
import stat
import tomllib
import unicodedata
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqvae.data.config import DataConfig
from vqvae.errors import InputError

# Strict, so that `true` is no number and "1" neither; a whole number is a float all the same.
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_LARGEST = 2**20  # bytes of such a file; a pipe or a device would be read for ever


class ModelConfig(BaseModel):
    """The network, its codebook, and the loss they are trained with."""

    model_config = _STRICT

    width: int = Field(128, ge=2, multiple_of=2)
    """Channels at the latent grid; half as many at full size."""
    residual_blocks: int = Field(2, ge=0)
    residual_width: int = Field(32, ge=1)
    stride: Literal[2, 4, 8, 16] = 4
    """One code stands for `stride` x `stride` pixels."""
    codebook_size: int = Field(512, ge=2)
    code_dimension: int = Field(64, ge=1)
    codebook: Literal["ema", "gradient"] = "ema"
    """How code vectors follow the encoder: a running mean, or the codebook loss."""
    decay: float = Field(0.99, ge=0, lt=1)
    """Of the running mean, a batch."""
    dead_code_threshold_steps: int = Field(20, ge=0)
    """Batches after which a code nobody chose is moved to where it is needed; 0: never."""
    commitment: float = Field(0.25, ge=0)
    """The paper's beta."""
    reconstruction_loss: Literal["l1", "mse"] = "mse"


class TrainingConfig(BaseModel):
    """How a model is trained."""

    model_config = _STRICT

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(50, ge=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    """What follows the warm-up: a fall to a hundredth along a cosine, or nothing."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """The share of all steps during which the learning rate rises."""
    clip_norm: float = Field(1.0, gt=0)
    """The longest gradient that a step follows; a longer one is shortened to it."""
    seed: int = Field(0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of encoder and decoder; the quantizer computes in float32 always."""


class Config(BaseModel):
    """All that determines a trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


def read_config(path: Path) -> Config:
    """Read a TOML file with the sections `[data]`, `[model]` and `[training]`.

    Raises:
        InputError: the file cannot be read, or a key or value in it is wrong.
    """
    try:
        content = tomllib.loads(_text_of(path))
        _refuse_strange(content)
    # A number of thousands of digits is a plain ValueError, a nest of brackets a RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error)}") from error


def _text_of(path: Path) -> str:
    """A file's text, without the mark that some editors put before the first character."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        raise ValueError(f"not a file, or one of more than {_LARGEST} bytes")
    return path.read_text(encoding="utf-8-sig")


def _refuse_strange(value: Any) -> None:
    """Refuse what no configuration holds: control characters, and numbers beyond TOML's 64 bits."""
    match value:
        case str() if any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in value):
            raise ValueError(f"{value!r} has a control character; leave it out")
        case int() if value.bit_length() > 63:
            raise ValueError("a whole number has more than 64 bits")
        case dict():
            _refuse_strange([*value, *value.values()])
        case list():
            for inner in value:
                _refuse_strange(inner)


def describe(error: ValidationError) -> str:
    """Say in one line what is wrong: the keys, the values, and the names that are near."""
    return "; ".join(_describe(dict(found)) for found in error.errors())


def _describe(found: dict[str, Any]) -> str:
    place = [str(part) for part in found["loc"]]
    key = ".".join(place)
    if found["type"] == "missing":
        return f"{key} is missing"
    if found["type"] == "extra_forbidden":
        return f"no key is named {key}; {_near(place)}"
    return f"{key} = {found['input']!r}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _near(place: list[str]) -> str:
    names = _names(Config, place[:-1])
    near = difflib.get_close_matches(place[-1], names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(names)}"


def _names(model: type[BaseModel], place: list[str]) -> list[str]:
    """The keys of the section at `place`, found by walking the models."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        choices = [annotation, *get_args(annotation)]
        inner = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)
