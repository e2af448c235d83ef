"""Reading and checking TOML files: each error is one line that says where and what to do."""

import stat
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from sweeps.errors import InputError
from sweeps.text import did_you_mean

MAX_BYTES = 2**20
"""The largest TOML file that is read, in bytes; a larger one was not meant as a configuration."""

Model = TypeVar("Model", bound=BaseModel)


class StrictModel(BaseModel):
    """The base of each table of an experiment or a cluster: frozen, unknown keys are errors.

    A text is not accepted as a number, nor a number as true or false; an integer is as a float.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        InputError: the file does not exist, is not valid TOML, or has a value that is refused.
    """
    try:
        tables = tomllib.loads(_read_text(path))
        _refuse_invalid(tables)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file{_files_nearby(path)}") from error
    # A number of thousands of digits raises ValueError, deeply nested brackets RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {_one_line(error)}") from error
    return tables


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


def validate(tables: Mapping[str, Any], model: type[Model], where: str) -> Model:
    """Return `tables` as an instance of `model`.

    Args:
        tables: the tables to check.
        model: the class that describes them.
        where: the file, and the table in it, that an error message names.

    Raises:
        InputError: a key is unknown, missing, or has a value that its field refuses.
    """
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        # A misspelt key may also be reported as a missing one; the misspelling is what to fix.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        raise InputError(f"{where}: {_describe_error(first, model)}") from error


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one mapping from dotted paths to values."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def replace_values(tables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested tables with the values at the given dotted paths replaced."""
    result = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in tables.items()
    }
    for path, value in values.items():
        head, _, rest = path.partition(".")
        result[head] = replace_values(result.get(head) or {}, {rest: value}) if rest else value
    return result


def _describe_error(error: ErrorDetails, model: type[BaseModel]) -> str:
    path = ".".join(map(str, error["loc"])) or "the file"
    match error["type"]:
        case "extra_forbidden":
            siblings = _fields_beside(model, error["loc"])
            return f"unknown key {path!r}{did_you_mean(str(error['loc'][-1]), siblings)}"
        case "missing":
            return f"{path!r} is missing"
        case "value_error":
            message = error["msg"].removeprefix("Value error, ")
            return f"{path}: {message}" if error["loc"] else message  # `where` names the table
        case kind:
            message = f"{path} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
            return message + value_advice(error["input"], _TYPES.get(kind))


_TYPES = {"int_type": int, "float_type": float, "bool_type": bool}
"""The types that a field may need, by the kind of pydantic's error."""


def value_advice(given: object, needed: type | None) -> str:
    """Return the end of a message that says what to write instead of a value of the wrong type.

    Args:
        given: the value in the file: a number or `true` in quotes, `3.0` for 3, 1 for `true`.
        needed: the type that is needed: int, float or bool.

    Returns:
        The end of the message; empty if the value was not meant as one of that type.
    """
    if needed is None:
        return ""
    if isinstance(given, str):
        return _advice_on_text(given, needed)
    if needed is bool and given in (0, 1):  # no set: a list has no hash
        return f"; write {'true' if given else 'false'}"
    if needed is int and isinstance(given, float) and given.is_integer():
        return f"; write {int(given)}"
    return f"; write {int(given)}" if needed is not bool and isinstance(given, bool) else ""


def _advice_on_text(given: str, needed: type) -> str:
    try:
        table = tomllib.loads(f"value = {given}")
    except (ValueError, RecursionError):
        return ""
    if table.keys() != {"value"}:  # a text of several lines
        return ""
    inner = table["value"]
    fits = type(inner) is needed or (needed is float and type(inner) is int)
    return f"; remove the quotes: {given.strip()}" if fits else value_advice(inner, needed)


def _fields_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the table in which the last part of `location` is not a key."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _files_nearby(path: Path) -> str:
    return did_you_mean(path.stem, (file.stem for file in path.parent.glob(f"*{path.suffix}")))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
