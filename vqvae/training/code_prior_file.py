"""The file of a model's code statistics, beside its checkpoint: `code_prior.bin`."""

from pathlib import Path

from vqvae.errors import InputError, UnavailableError
from vqvae.files import write_whole
from vqvae.model.code_prior import FILE, CodePrior
from vqvae.model.vqvae import VQVAE


def write_code_prior(folder: Path, model: VQVAE, prior: CodePrior) -> None:
    """Write the statistics of `model`, atomically; they are not used with another model."""
    write_whole(folder / FILE, bytes.fromhex(model.tensor_digest) + prior.to_bytes())


def read_code_prior(folder: Path, model: VQVAE) -> CodePrior | None:
    """The statistics in a folder; None if there are none, or those of another model.

    A training that goes on replaces its best model, but not this file.

    Raises:
        InputError: the file is damaged.
        UnavailableError: it cannot be read now.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read ({error.strerror or error})") from error
    owner = bytes.fromhex(model.tensor_digest)
    if content[: len(owner)] != owner:
        return None
    try:
        return CodePrior.from_bytes(content[len(owner) :])
    except InputError as error:
        raise InputError(f"{path}: {error}; or remove it, and files get larger") from error
