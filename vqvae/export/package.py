"""A package: a trained model as programs with a description, and how it is opened safely.

A package is a folder with three programs (see `vqvae.export.programs`), an example batch, and
`package.json`, which has their digests, a description of the model, and how to use it with torch
and numpy alone.
"""

import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from vqvae.errors import InputError
from vqvae.export.archive_check import checked
from vqvae.export.programs import DECODE, ENCODE, NAMES, RECONSTRUCT
from vqvae.model import code_prior
from vqvae.model.code_prior import CodePrior

MANIFEST, EXAMPLE = "package.json", "example.json"
_LARGEST_MANIFEST = 2**20

_Program = Callable[[Tensor], Tensor]


class Signature(BaseModel):
    """Shape and type of an input or output; -1 is any number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, ...] = (-1, 1, -1, -1)
    dtype: Literal["float32"] = "float32"


class Manifest(BaseModel):
    """The content of `package.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    programs: dict[str, str]
    """The hex SHA-256 of each program's file, by its name."""
    model: dict[str, Any]
    """The configuration of the model (`ModelConfig`)."""
    codebook_size: int = Field(ge=2, le=2**24)
    stride: Literal[2, 4, 8, 16]
    input: Signature = Signature()
    output: Signature = Signature()
    code_prior: str | None = None
    """The hex SHA-256 of `code_prior.bin`, the statistics of its codes; None if there are none."""
    example: Literal["example.json"] = "example.json"
    """A batch of synthetic images, as nested lists."""
    requirements: list[str]
    about: str
    """Markdown: what the model is, its input and output, its limits."""
    use: str
    """Markdown: Python code that uses it with torch and numpy alone."""


@dataclass(frozen=True)
class Package:
    """An opened package. All tensors are on its `device`."""

    identity: str
    """Hex SHA-256 of the digests of its files; see `identity_of`."""
    codebook_size: int
    stride: int
    code_prior: CodePrior | None
    device: torch.device
    _programs: Mapping[str, _Program]

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images [B, 1, H, W] in [0, 1] to their reconstructions; any B, H and W."""
        return self._run(RECONSTRUCT, images)

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 1, H, W] in [0, 1] to int64 codes [B, ceil(H / stride), ceil(W / stride)]."""
        return self._run(ENCODE, images)

    def decode(self, indices: Tensor, height: int, width: int) -> Tensor:
        """Codes [B, h, w] to images [B, 1, height, width]: bit for bit what `reconstruct` gives."""
        return self._run(DECODE, indices)[..., :height, :width]

    @torch.inference_mode()
    def _run(self, name: str, given: Tensor) -> Tensor:
        # Always the same memory layout: it decides the last bits of the result.
        return self._programs[name](given.contiguous())


def identity_of(manifest: Manifest) -> str:
    """The identity of a model: hex SHA-256 of the names and digests of programs and statistics."""
    files = dict(manifest.programs)
    if manifest.code_prior is not None:
        files[code_prior.FILE] = manifest.code_prior
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def open_package(folder: Path, device: torch.device | None = None) -> Package:
    """Open a package; nothing in it is executed except the operators of its programs.

    The programs are checked now, and opened at their first use.

    Args:
        folder: the package's folder.
        device: the device to compute on; the CPU by default.

    Raises:
        InputError: a file is missing, damaged, or not one that this program writes.
    """
    manifest = read_manifest(folder)
    device = device or torch.device("cpu")
    programs = {
        name: _open_at_first_use(folder / name, _checked(folder / name, digest), device)
        for name, digest in manifest.programs.items()
    }
    return Package(
        identity=identity_of(manifest),
        codebook_size=manifest.codebook_size,
        stride=manifest.stride,
        code_prior=_read_code_prior(folder, manifest),
        device=device,
        _programs=programs,
    )


def read_manifest(folder: Path) -> Manifest:
    """Read `package.json`.

    Raises:
        InputError: it is missing, or not of this format.
    """
    path = folder / MANIFEST
    try:
        content = _read(path, _LARGEST_MANIFEST)
        manifest = Manifest.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not a package of format 1: {key}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not the description of a package (not valid JSON)") from error
    if set(manifest.programs) != set(NAMES):
        raise InputError(f"{path}: 'programs' must name exactly {', '.join(NAMES)}")
    return manifest


def _read(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file; is {path.parent} a package?")
        if path.stat().st_size > limit:
            raise InputError(f"{path}: larger than any file that this program writes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_code_prior(folder: Path, manifest: Manifest) -> CodePrior | None:
    if manifest.code_prior is None:
        return None
    path = folder / code_prior.FILE
    try:
        prior = CodePrior.from_bytes(_intact(path, manifest.code_prior))
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
    if prior.codebook_size != manifest.codebook_size:
        raise InputError(
            f"{path}: the statistics of {prior.codebook_size} codes, not of the model's"
        )
    return prior


def _checked(path: Path, digest: str) -> bytes:
    return checked(_intact(path, digest), path)


def _intact(path: Path, digest: str) -> bytes:
    content = _read(path, limit=2**32)
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"{path}: damaged: its digest differs from the one in {MANIFEST}; copy it again"
        )
    return content


def _open_at_first_use(path: Path, content: bytes, device: torch.device) -> _Program:
    """A program that torch opens when it is first run, because opening takes most of a second."""

    @functools.cache
    def opened() -> _Program:
        return _open(path, content, device)

    def run(given: Tensor) -> Tensor:
        return opened()(given)

    return run


def _open(path: Path, content: bytes, device: torch.device) -> _Program:
    try:
        program = torch.export.load(io.BytesIO(content))
        return _move(program, device).module(check_guards=False)
    except Exception as error:
        # For an inconsistent graph, torch raises an exception of any class.
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: torch {torch.__version__} cannot open it: {reason}") from error


def _move(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    return program if device.type == "cpu" else move_to_device_pass(program, str(device))
