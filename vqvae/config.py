"""The configuration of the data, the model and its training, and the reading of it from TOML.

It stands apart from the modules that use it because they import numpy and torch, and looking at a
configuration must not cost that.
"""

import stat
import tomllib
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from vqvae.errors import InputError
from vqvae.text import did_you_mean

MAX_BYTES = 2**20
"""Bytes of a TOML file that somebody means."""

# Strict, so that `true` is no number and "1" neither; a whole number is a float all the same.
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

Patients = Annotated[int, Field(ge=1, le=400)]
Pixels = Annotated[int, Field(ge=32, le=1024, multiple_of=8)]


class PhantomConfig(BaseModel):
    """A synthetic data set: the same values give the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train_patients: Patients = 8
    validate_patients: Patients = 2
    test_patients: Patients = 2
    volumes: int = Field(default=2, ge=1, le=52, description="volumes per patient, a week apart")
    slices: int = Field(default=20, ge=1, le=400, description="slices per volume")
    height: Pixels = Field(default=256, description="pixels from the patient's right to left")
    width: Pixels = Field(default=128, description="pixels from back to front")
    seed: int = Field(default=0, ge=0, lt=2**32)


class DataConfig(BaseModel):
    """Where the slices are and how they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(default=Path("data/phantom"), description="the folder of the HipMRI layout")
    phantom: PhantomConfig | None = Field(
        default=None, description="write this phantom at root if nothing is there"
    )
    on_bad_slice: Literal["stop", "skip"] = Field(
        default="stop", description="what an unreadable slice does"
    )
    cache: Path | None = Field(
        default=None, description="where decoded slices go; none: $TMPDIR, or the user's cache"
    )


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
        content = tomllib.loads(_read_text(path))
        _refuse_invalid(content)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    # A number of thousands of digits is a plain ValueError, a nest of brackets a RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as TOML: {reason}") from error
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error)}") from error


def _read_text(path: Path) -> str:
    """A file's text, without the mark that some editors put before the first character."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device would be read for ever
        raise ValueError("it is not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return path.read_text(encoding="utf-8-sig")


def _refuse_invalid(value: Any) -> None:
    """Refuse what no configuration holds: control characters, and numbers beyond TOML's 64 bits."""
    match value:
        case str() if any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in value):
            raise ValueError(f"{value!r} has a control character; leave it out")
        case int() if value.bit_length() > 63:
            raise ValueError("a whole number has more than 64 bits")
        case dict():
            _refuse_invalid([*value, *value.values()])
        case list():
            for inner in value:
                _refuse_invalid(inner)


def describe(error: ValidationError) -> str:
    """What is wrong with a configuration, in one line: each key, its value, and what is valid."""
    return "; ".join(map(_describe_error, error.errors()))


def _describe_error(error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"])) or "the file"
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key {path!r}{did_you_mean(*_key_and_siblings(error))}"
        case "missing":
            return f"{path!r} is missing"
        case "value_error":
            return f"{path}: {error['msg'].removeprefix('Value error, ')}"
        case _:
            return f"{path} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _key_and_siblings(error: ErrorDetails) -> tuple[str, list[str]]:
    """An unknown key, and the keys of the table that it was looked for in."""
    *tables, key = map(str, error["loc"])
    model: type[BaseModel] = Config
    for table in tables:
        annotation = model.model_fields[table].annotation if table in model.model_fields else None
        choices = (annotation, *get_args(annotation))
        inner = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return key, []
        model = inner[0]
    return key, list(model.model_fields)
