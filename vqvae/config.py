"""The configuration of the data, the model and its training.

This module imports neither numpy nor torch, so that reading a configuration takes little time.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from vqvae.text import did_you_mean

# The text below a field is its description, which the reference in docs/ shows.
# Strict: `true` and "1" are not accepted as numbers. A whole number is accepted as a float.
_STRICT = ConfigDict(
    frozen=True,
    extra="forbid",
    strict=True,
    allow_inf_nan=False,
    use_attribute_docstrings=True,
)

Patients = Annotated[int, Field(ge=1, le=400)]
Pixels = Annotated[int, Field(ge=32, le=1024, multiple_of=8)]


class PhantomConfig(BaseModel):
    """A synthetic data set; the same values give the same bytes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    train_patients: Patients = 8
    """Patients in the training split, 1 to 400."""
    validate_patients: Patients = 2
    """Patients in the validation split, 1 to 400."""
    test_patients: Patients = 2
    """Patients in the test split, 1 to 400."""
    volumes: int = Field(default=2, ge=1, le=52)
    """Volumes per patient, 1 to 52: one visit per week each."""
    slices: int = Field(default=20, ge=1, le=400)
    """Slices per volume, 1 to 400; all volumes cover the same part of the body."""
    height: Pixels = 256
    """Rows of a slice, from the patient's right to the left: a multiple of 8, 32 to 1024 pixels."""
    width: Pixels = 128
    """Columns of a slice, from back to front: a multiple of 8, 32 to 1024 pixels."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the random numbers, 0 to 2^32 - 1."""


class DataConfig(BaseModel):
    """Where the slices are and how they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    root: Path = Path("data/phantom")
    """The data set's folder, in the HipMRI layout: it holds `keras_slices_train`,
    `keras_slices_validate` and `keras_slices_test`, or `keras_slices_data` with these three."""
    phantom: PhantomConfig | None = None
    """A synthetic data set that is written to `root` if nothing is there. By default no data are
    written, and `root` must exist."""
    on_bad_slice: Literal["stop", "skip"] = "stop"
    """What happens at a slice that cannot be read: `stop` is an error, `skip` leaves the slice out
    and logs its name."""
    cache: Path | None = None
    """The folder for decoded slices. By default `$TMPDIR/vqvae-slices-UID`; without `$TMPDIR`,
    `vqvae/slices` in the user's cache folder (`$XDG_CACHE_HOME`, or `~/.cache`)."""


class ModelConfig(BaseModel):
    """The network, its codebook, and its loss (arXiv:1711.00937)."""

    model_config = _STRICT

    width: int = Field(128, ge=2, multiple_of=2)
    """Channels of the feature maps, a positive even number; half as many after the encoder's first
    convolution and before the decoder's last."""
    residual_blocks: int = Field(2, ge=0)
    """Residual blocks in the encoder, and as many in the decoder; at least 0."""
    residual_width: int = Field(32, ge=1)
    """Channels inside a residual block, at least 1."""
    stride: Literal[2, 4, 8, 16] = 4
    """Pixels per latent position along each axis: one code stands for `stride` x `stride` pixels.
    A larger stride gives fewer codes, and so fewer bits per pixel."""
    codebook_size: int = Field(512, ge=2)
    """The number K of codes, at least 2; each code costs log2 K bits."""
    code_dimension: int = Field(64, ge=1)
    """The dimension D of a code vector, at least 1."""
    codebook: Literal["ema", "gradient"] = "ema"
    """How the code vectors are trained: `ema` makes them exponential moving averages of the encoder
    vectors that chose them (appendix A.1), `gradient` follows the codebook loss (eq. 3)."""
    decay: float = Field(0.99, ge=0, lt=1)
    """The decay of the moving average per batch, at least 0 and below 1. Only for `ema`."""
    dead_code_threshold_steps: int = Field(20, ge=0)
    """A code that no vector chose for so many training batches in a row is dead: it moves to an
    encoder vector with a large quantization error. 0 leaves dead codes where they are."""
    commitment: float = Field(0.25, ge=0)
    """The weight of the commitment loss: beta in eq. 3, at least 0. The default is the paper's."""
    reconstruction_loss: Literal["l1", "mse"] = "mse"
    """The error of the pixels in the reconstruction loss: mean absolute (`l1`) or mean squared
    (`mse`). Either is divided by the error of predicting the mean of the training images
    (`reconstruction_scale`)."""
    ssim_weight: float = Field(0.0, ge=0)
    """The weight of 1 - SSIM in the reconstruction loss, beside the error of the pixels; at least
    0. The default is the paper's loss; 1 gives a higher SSIM (docs/quality.md). Images with a side
    below 11 pixels are trained without it."""


class TrainingConfig(BaseModel):
    """How a model is trained."""

    model_config = _STRICT

    optimizer: Literal["adam", "sgd"] = "adam"
    """`adam` with torch's defaults, or `sgd` with momentum 0.9."""
    learning_rate: float = Field(1e-3, gt=0)
    """The learning rate at the end of the warm-up, above 0."""
    batch_size: int = Field(32, ge=1)
    """Images per training step: at least 1, at most the size of the training split."""
    epochs: int = Field(50, ge=1)
    """Passes over the training split, at least 1. The schedule spreads over all of them."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate after the warm-up: `cosine` lowers it to a hundredth along half a cosine,
    `constant` keeps it."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """The share of all training steps with a linearly rising learning rate, at least 0, below 1."""
    clip_norm: float = Field(1.0, gt=0)
    """The largest gradient norm (L2, over all parameters), above 0; a longer gradient is scaled
    down to it."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of initial weights, order of images and dead-code replacement, 0 to 2^32 - 1."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` uses a CUDA GPU if torch finds one, else the CPU."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The precision of encoder and decoder in training steps. The quantizer and the validation
    always compute in float32."""


class Config(BaseModel):
    """Everything that determines a trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    """Required, because there is no data set that fits everyone."""
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


def describe(error: ValidationError, above: str = "") -> str:
    """Describe what is wrong with a configuration, in one line: key, value and what is valid.

    `above` stands before each key: the sections of the file that the configuration is in.
    """
    return "; ".join(_describe_error(one, above) for one in error.errors())


def _describe_error(error: ErrorDetails, above: str) -> str:
    path = above + ".".join(map(str, error["loc"])) or "the file"
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
    """An unknown key, and the keys that its table may have."""
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
