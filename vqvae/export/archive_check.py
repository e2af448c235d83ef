"""Checking the file of an exported program, before torch opens it, against what is allowed.

`torch.export.load` can execute arbitrary code of the file's author. Tensors and example inputs may
be pickles, compiled libraries are loaded, and parts of the program's JSON are executed: size
expressions by SymPy's `eval`, guards by `exec`; an operator is any name that can be reached from
`torch`; a container's type may import a module. So only what the programs of this package consist
of is allowed, name by name. Torch then opens a new archive that is made of the checked records, not
the file itself, because two readers of one zip file can see different records.
"""

import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from vqvae.errors import InputError

_ROOT = "archive/"
_GRAPH, _EXAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_WEIGHT = re.compile(r"data/weights/weight_\d+")
_EMPTY_DICT = b"\x80\x02}q\x00."
"""The pickle of `{}`."""
_SMALL = {
    "archive_format": rb"pt2",
    "archive_version": rb"\d{1,4}",
    ".data/version": rb"\d{1,4}\n",
    ".data/serialization_id": rb"\d{1,64}",
    "byteorder": rb"little",
}
"""Records that say how the others are to be read, with the form of their content."""
_REQUIRED = {_GRAPH, _EXAMPLES, _WEIGHTS, _CONSTANTS, *_SMALL}

_OPERATORS = {
    *(f"_operator.{name}" for name in ("add", "floordiv", "mod", "mul", "neg", "sub")),
    *(
        f"torch.ops.aten.{name}"
        for name in (
            *("_assert_tensor_metadata.default", "add.Tensor", "addmm.default", "arange.default"),
            *("argmin.default", "cat.default", "clamp.default", "contiguous.default"),
            *("conv2d.default", "conv_transpose2d.input", "embedding.default"),
            *("flatten.using_ints", "index_select.default", "movedim.int", "numpy_T.default"),
            *("pad.default", "relu.default", "reshape.default", "square.default"),
            *("sum.dim_IntList", "sym_size.int", "to.dtype"),
        )
    ),
}
_WORD = re.compile(r"[A-Za-z0-9_.]{0,200}")
_EXPRESSION = re.compile(
    r"(?:(?:Add|Mul|Max|Min|FloorDiv|PythonMod|Mod)\(|Symbol\('s\d{1,9}+'|Integer\(-?\d{1,9}+|"
    r"(?:positive|integer)=True|\d{1,9}+|, |\)){0,400}+"
)
"""All quantifiers are possessive (`+` after them): a failed match does not backtrack, which could
try 2^n ways."""
_IMAGES_IN = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "builtins.tuple",'
    ' "context": "null", "children_spec": [{"type": null, "context": null, "children_spec": []}]},'
    ' {"type": "builtins.dict", "context": "[]", "children_spec": []}]}]'
)
_TENSOR_OUT = '[1, {"type": null, "context": null, "children_spec": []}]'
_TEXTS = {
    "target": re.compile("|".join(map(re.escape, sorted(_OPERATORS)))),
    "expr_str": _EXPRESSION,
    "in_spec": re.compile(re.escape(_IMAGES_IN)),
    "out_spec": re.compile(re.escape(_TENSOR_OUT)),
    "torch_version": re.compile(r"[0-9A-Za-z.+]{1,40}"),
    "type": re.compile("cpu"),
}
"""The texts that are allowed under a key; under any other key, a word is allowed."""
_EMPTY = {"guards_code", "metadata", "treespec_namedtuple_fields", "custom_obj_values"}
_ARGUMENTS = {
    *("as_tensor", "as_tensors", "as_int", "as_ints", "as_sym_int", "as_sym_ints", "as_name"),
    *("as_float", "as_floats", "as_bool", "as_string", "as_none", "as_expr"),
    *("as_scalar_type", "as_layout", "as_device", "as_memory_format"),
}
_LARGEST = 2**28

_CLOSED = ConfigDict(extra="forbid", strict=True)


class _Count(BaseModel):
    model_config = _CLOSED
    as_int: NonNegativeInt


class _Device(BaseModel):
    model_config = _CLOSED
    type: Literal["cpu"]
    index: None


class _Tensor(BaseModel):
    model_config = _CLOSED
    dtype: Literal[5, 7]  # int64 and float32, by torch's numbers
    sizes: list[_Count]
    strides: list[_Count]
    storage_offset: _Count
    requires_grad: bool
    device: _Device
    layout: Literal[7]  # strided

    def needs(self) -> int:
        """The smallest size of its record in bytes; 0 for a tensor without elements."""
        sizes = [size.as_int for size in self.sizes]
        pairs = zip(sizes, self.strides, strict=True)
        last = sum((size - 1) * stride.as_int for size, stride in pairs)
        number = math.prod(sizes)
        end = self.storage_offset.as_int + last + 1
        return (max(end, number) if number else 0) * (8 if self.dtype == 5 else 4)


class _Weight(BaseModel):
    model_config = _CLOSED
    path_name: str = Field(pattern=r"^weight_\d+$")
    is_param: bool
    use_pickle: Literal[False]
    tensor_meta: _Tensor


class _Weights(BaseModel):
    model_config = _CLOSED
    config: dict[str, _Weight]


def checked(content: bytes, path: Path) -> bytes:
    """A new archive of the records of `content`, if all of them are allowed.

    Args:
        content: the content of the file, read once, so that what is checked is what is opened.
        path: the file, for messages.

    Raises:
        InputError: the file is truncated, or has something that no program of this package has.
    """
    try:
        records = _records(content)
        graph, weights = json.loads(records[_GRAPH]), json.loads(records[_WEIGHTS])
        _check_graph(graph)
        _check_weights(_Weights.model_validate(weights), records)
    except (ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise InputError(f"{path}: refused before it was opened: {_reason(error)}") from error
    records |= {_GRAPH: json.dumps(graph).encode(), _WEIGHTS: json.dumps(weights).encode()}
    return _archived(records)


def _records(content: bytes) -> dict[str, bytes]:
    """The records of the archive by their names below its root, if all names are allowed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        for entry in entries:
            _check_entry(entry)
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its records overlap")
        records = {entry.filename.removeprefix(_ROOT): archive.read(entry) for entry in entries}
    if len(records) < len(entries):
        raise ValueError("it has two records of one name")
    if missing := sorted(_REQUIRED - records.keys()):
        raise ValueError(f"it has no {', '.join(missing)}")
    _check_small(records)
    return records


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename.removeprefix(_ROOT)
    known = name in _REQUIRED or _WEIGHT.fullmatch(name)
    if not entry.filename.startswith(_ROOT) or not known:
        raise ValueError(f"it holds {entry.filename[:80]!r}, which no program of this package does")
    plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
    if not plain or entry.compress_size != entry.file_size:
        raise ValueError(f"{entry.filename!r} is compressed or encrypted; torch writes it plain")


def _check_small(records: dict[str, bytes]) -> None:
    for name, form in _SMALL.items():
        if not re.fullmatch(form, records[name]):
            raise ValueError(f"{name!r} does not hold what torch writes there")
    if not _is_no_example(records[_EXAMPLES]):
        raise ValueError("it holds example inputs, which torch would unpickle")
    records[_EXAMPLES] = b""
    if json.loads(records[_CONSTANTS]) != {"config": {}}:
        raise ValueError("it holds constants, which torch may unpickle")


def _is_no_example(record: bytes) -> bool:
    """Whether a record is empty, or is what `torch.save({})` writes; it is not unpickled."""
    if not record:
        return True
    with zipfile.ZipFile(io.BytesIO(record)) as inner:
        return [inner.read(n) for n in inner.namelist() if n.endswith(".pkl")] == [_EMPTY_DICT]


def _check_graph(found: Any, key: str = "") -> None:
    """Check every key and value of the program's JSON, because torch executes some of them."""
    if key in _EMPTY and found:
        raise ValueError(f"{key!r} is not empty")
    match found:
        case dict():
            for name, value in found.items():
                if not _WORD.fullmatch(name) or (name[:3] == "as_" and name not in _ARGUMENTS):
                    raise ValueError(f"{name[:80]!r} is not a key of any program of this package")
                _check_graph(value, name)
        case list():
            for value in found:
                _check_graph(value, key)
        case str() if not _TEXTS.get(key, _WORD).fullmatch(found):
            raise ValueError(f"{key} {found[:80]!r} is in no program of this package")
        case int() if abs(found) > _LARGEST:
            raise ValueError(f"{key} {found} is larger than in any program of this package")


def _check_weights(found: _Weights, records: dict[str, bytes]) -> None:
    for name, weight in found.config.items():
        record = records.get(f"data/weights/{weight.path_name}", b"")
        if not 0 < weight.tensor_meta.needs() <= len(record):
            raise ValueError(f"weight {name[:80]!r} does not lie within its record")


def _archived(records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in records.items():
            archive.writestr(_ROOT + name, content)
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))[-120:]}: {first['msg'].lower()}"
    return " ".join(str(error).split())[:300]
