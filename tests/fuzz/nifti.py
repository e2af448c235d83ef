"""NIfTI files: valid ones of every kind, damaged ones, and ones with a false size."""

import gzip
import io
import os
import warnings
from typing import Any

import nibabel
import numpy as np
from hypothesis import strategies as st

from tests.fuzz.case import Case
from tests.fuzz.text import file_names

_TYPES = (np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16, np.int8, np.uint32)
_ODD = (*_TYPES, np.complex64, np.int64, np.uint64, np.complex128)
_EXTREMES = (0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e38, -1e38, 3e38, 1e-45, 1e300, -1)


def packed(image: Any, *, zipped: bool) -> bytes:
    content: bytes = image.to_bytes()
    return gzip.compress(content, 1, mtime=0) if zipped else content


@st.composite
def valid(draw: st.DrawFn, *, axes: tuple[int, ...] = (2, 3), smallest: int = 11) -> Any:
    """An image that every command must accept."""
    shape = [draw(st.integers(smallest, 28)), draw(st.integers(smallest, 28))]
    if draw(st.sampled_from(axes)) == 3:
        shape.append(draw(st.integers(1, 3)))
    dtype = np.dtype(draw(st.sampled_from(_TYPES)))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    pixels = random.integers(0, 100, shape).astype(dtype)
    affine = np.diag([*(draw(st.floats(0.2, 5)) for _ in range(3)), 1.0])
    affine[:3, 3] = [draw(st.integers(-200, 200)) for _ in range(3)]
    kind = draw(st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]))
    image = kind(pixels, affine)
    image.header.set_xyzt_units("mm")
    return image


@st.composite
def odd(draw: st.DrawFn) -> bytes:
    """An image with unusual types, shapes, values or affine; it may be valid or not."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 11, 24, 30]), min_size=1, max_size=5))
    dtype = np.dtype(draw(st.sampled_from(_ODD)))
    pixels = np.zeros(shape[: 5 if np.prod(shape) < 1e5 else 2], dtype)
    if pixels.size:
        values = draw(st.lists(st.sampled_from(_EXTREMES), max_size=3))
        with np.errstate(all="ignore"):
            pixels.ravel()[: len(values)] = np.array(values[: pixels.size]).astype(dtype)
    affine = np.eye(4)
    if draw(st.booleans()):
        row, column = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        affine[row, column] = draw(st.sampled_from([*_EXTREMES, 1e-30, 1e30]))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            image = nibabel.Nifti1Image(pixels, affine, dtype=dtype)
        if draw(st.booleans()):
            image.header["scl_slope"] = draw(st.sampled_from(_EXTREMES))
            image.header["scl_inter"] = draw(st.sampled_from(_EXTREMES))
        return packed(image, zipped=draw(st.booleans()))
    except Exception:  # nibabel itself refuses to write it  # noqa: BLE001
        return pixels.tobytes()


@st.composite
def rewritten(draw: st.DrawFn) -> bytes:
    """A valid file with some header fields overwritten, sizes included."""
    image = draw(valid())
    content = bytearray(image.to_bytes())
    fields = type(image.header).template_dtype.fields
    for _ in range(draw(st.integers(1, 3))):
        kind, at = fields[draw(st.sampled_from(sorted(fields)))][:2]
        size = kind.itemsize
        value = draw(st.one_of(st.binary(min_size=size, max_size=size), _number(kind.base)))
        content[at : at + size] = value[:size].ljust(size, b"\0")
    return gzip.compress(bytes(content), 1) if draw(st.booleans()) else bytes(content)


def _number(kind: np.dtype) -> st.SearchStrategy[bytes]:
    if kind.kind not in "if":
        return st.binary(max_size=8)
    values = _EXTREMES if kind.kind == "f" else (-1, 0, 1, 2, 7, 8, 32767, -32768)
    return st.lists(st.sampled_from(values), min_size=1, max_size=8).map(lambda v: _stored(v, kind))


def _stored(values: list[float], kind: np.dtype) -> bytes:
    with np.errstate(all="ignore"):
        return np.array(values).astype(kind).tobytes()


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """The bytes of a file truncated, changed or joined, or bytes that are not NIfTI."""
    content = packed(draw(valid()), zipped=draw(st.booleans()))
    at = draw(st.integers(0, len(content)))
    match draw(st.sampled_from(range(6))):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + draw(st.binary(min_size=1, max_size=9)) + content[at:]
        case 2:
            return content + content
        case 3:
            return gzip.compress(content)
        case 4:
            return content + b"\0" * draw(st.sampled_from([1, 512, 2**21]))
        case _:
            return draw(st.sampled_from([b"", b"\x1f\x8b", b"n+1\0", b"\0" * 400, content[::-1]]))


def bomb(claims: tuple[int, ...], unpacked: int) -> bytes:
    """A small compressed file: a header that claims a shape, followed by zeros."""
    header = nibabel.Nifti2Header()
    header.set_data_shape(claims)
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 544
    head = io.BytesIO()
    header.write_to(head)
    packer = io.BytesIO()
    with gzip.GzipFile(fileobj=packer, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(head.getvalue().ljust(544, b"\0"))
        for _ in range(unpacked // 2**20):
            file.write(bytes(2**20))
    return packer.getvalue()


BOMB = bomb((20, 20), 2**28)
contents = st.one_of(
    odd(),
    rewritten(),
    broken(),
    st.sampled_from([BOMB, bomb((60000, 60000, 60000), 0), bomb((16000, 16000, 2), 0)]),
)


@st.composite
def names(draw: st.DrawFn) -> str:
    stem = draw(st.one_of(st.just("scan"), file_names))
    return (stem.lstrip(".") or "scan") + draw(st.sampled_from([".nii", ".nii.gz"]))


MODEL = "../trained"
_COMMANDS = {"reconstruct": "", "encode": ".vqc"}


@st.composite
def valid_scans(draw: st.DrawFn) -> Case:
    command, name = draw(st.sampled_from(sorted(_COMMANDS))), f"in/{draw(names())}"
    is_short = len(os.fsencode(name)) < 200  # what is written beside a scan has a longer name
    content = packed(draw(valid()), zipped=draw(st.booleans()))
    made = name.replace("in/", "out/") + _COMMANDS[command]
    arguments = (command, name, "--model", MODEL, "--out", "out", "--device", "cpu")
    kind = f"{command}, valid"
    expect: Any = "succeeds" if is_short else "either"
    return Case(kind, "vqvae", arguments, {name: content}, expect, made=(made,))


@st.composite
def bad_scans(draw: st.DrawFn) -> Case:
    command = draw(st.sampled_from(sorted(_COMMANDS)))
    name = f"in/{draw(names())}"
    special = st.sampled_from([None, "../nowhere.nii", "/dev/zero", "scan.nii"])
    content = draw(st.one_of(contents, contents, contents, special))
    arguments = (command, name, "--model", MODEL, "--out", "out", "--device", "cpu")
    return Case(f"{command}, odd", "vqvae", arguments, {name: content}, named=_mentions(name))


@st.composite
def coded(draw: st.DrawFn) -> Case:
    """`vqvae decode` of a valid file of codes, or of a damaged one."""
    from tests.fuzz.material import codes

    content = codes()
    name = "in/scan.nii.vqc"
    arguments = ("decode", name, "--model", MODEL, "--out", "out", "--device", "cpu")
    if draw(st.booleans()):
        made = ("out/scan.nii",)
        return Case("decode, valid", "vqvae", arguments, {name: content}, "succeeds", made=made)
    at = draw(st.integers(0, len(content) - 1))
    junk = draw(st.binary(min_size=1, max_size=9))
    content = draw(
        st.sampled_from(
            [content[:at], content[:at] + junk + content[at + len(junk) :], junk, content + junk]
        )
    )
    return Case("decode, odd", "vqvae", arguments, {name: content}, named=_mentions(name))


_SLICE = "keras_slices_data/keras_slices_train/"


@st.composite
def checks(draw: st.DrawFn) -> Case:
    """`vqvae data check` of a valid data set with one more file."""
    if draw(st.integers(0, 3)) == 0:
        file = packed(draw(valid(axes=(2,))), zipped=True)
        files: Any = {f"set/{_SLICE}case_004_week_0_slice_7.nii.gz": file}
        return Case(
            "check, valid", "vqvae", ("data", "check", "set"), files, "succeeds", base="set"
        )
    name = draw(st.one_of(st.just("case_004_week_0_slice_8.nii.gz"), names(), file_names))
    files = {f"set/{_SLICE}{name}": draw(contents)}
    return Case("check, odd", "vqvae", ("data", "check", "set"), files, named=("set",), base="set")


@st.composite
def imports(draw: st.DrawFn) -> Case:
    """`vqvae data import` of three valid volumes and a generated one."""
    options = list(
        draw(st.sampled_from([(), ("--size", "32x32"), ("--size", "32x32", "--resample")]))
    )
    if draw(st.integers(0, 3)) == 0:
        name, content, is_valid = "sub-09.nii.gz", packed(draw(valid(axes=(3,))), zipped=True), True
    else:
        patient = st.just("sub-07.nii.gz")
        name, content, is_valid = draw(st.one_of(patient, patient, names())), draw(contents), False
    arguments = ("data", "import", "volumes", "made", *options)
    files: Any = {f"volumes/{name}": content}
    if is_valid:
        arguments = (*arguments, "--min-tissue", "0")
        return Case(
            "import, valid", "vqvae", arguments, files, "succeeds", made=("made",), base="volumes"
        )
    return Case("import, odd", "vqvae", arguments, files, base="volumes")


def _mentions(name: str) -> tuple[str, ...]:
    """Texts of which an error about the file must contain one."""
    plain = name.removeprefix("in/")
    return (plain, "in/", "--out")
