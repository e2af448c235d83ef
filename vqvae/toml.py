"""How configurations are read from TOML files."""

import stat
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vqvae.config import Config, DataConfig, describe
from vqvae.errors import InputError

MAX_BYTES = 2**20
"""The largest configuration file that is read, in bytes; a larger one was named by mistake."""


class _DataSection(BaseModel):
    data: DataConfig


def read_config(path: Path) -> Config:
    """Read a TOML file with the sections `[data]`, `[model]` and `[training]`.

    Raises:
        InputError: the file cannot be read, or a key or value in it is wrong.
    """
    content = _read_toml(path)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error)}") from error


def read_data_config(path: Path) -> DataConfig:
    """Read which data a TOML file names: in `[data]`, or in `[trial.data]` of an experiment file.

    Other sections are not checked.

    Raises:
        InputError: the file cannot be read, names no data, or a key or value of the section is
            wrong.
    """
    content = _read_toml(path)
    trial = content.get("trial")
    above, section = ("trial.", trial) if isinstance(trial, dict) else ("", content)
    if "data" not in section:
        raise InputError(f'{path}: [{above}data] is missing; it names the data by root = "FOLDER"')
    try:
        return _DataSection.model_validate({"data": section["data"]}).data
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, above)}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: the file cannot be read, or a value in it is not possible.
    """
    try:
        content = tomllib.loads(_read_text(path))
        _refuse_invalid(content)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    # A number with thousands of digits raises ValueError, deeply nested brackets RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as TOML: {reason}") from error
    return content


def _read_text(path: Path) -> str:
    """Return a file's text without the byte order mark that some editors write first."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
        raise ValueError("it is not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return path.read_text(encoding="utf-8-sig")


def _refuse_invalid(value: Any) -> None:
    """Refuse values that would cause an error later, far from the file.

    Texts become names, lines of a job's script and lines in a terminal, so control characters are
    refused. Integers have 64 bits in TOML, and Python reads some that it cannot write.
    """
    match value:
        case str() if any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in value):
            raise ValueError(f"{value!r} has a control character; remove it")
        case int() if value.bit_length() > 63:
            raise ValueError("an integer has more than 64 bits")
        case dict():
            _refuse_invalid([*value, *value.values()])
        case list():
            for inner in value:
                _refuse_invalid(inner)
