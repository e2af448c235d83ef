"""A cache of decoded slices on disk, which can be mapped into memory.

A split is decoded once into a folder of its own, an entry: one `.npy` file per native shape
(uint16, value / 65535 is the scaled intensity) and an index. The entry's name has two hashes: one
of the files' names, sizes and times, so that a changed file makes a new entry, and one of the data
set's folder, because two different data sets can agree in names, sizes and coarse times.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vqvae.data.intensity import scale
from vqvae.data.layout import Listing, SliceFile, SplitName, refuse_odd_names
from vqvae.data.nifti import SMALLEST_SIDE, read_slice
from vqvae.data.progress import track
from vqvae.errors import InputError, UnavailableError
from vqvae.files import write_whole

RULE = 2  # version of the decoding: raise it when the same file would be decoded to other numbers
INDEX = "index.json"
_MAX_UINT16 = 65535
_STALE = 7 * 24 * 3600.0  # seconds without use after which an entry is removed
_ENTRY_NAME = re.compile(r"\.?(train|validate|test)-[0-9a-f]{8}-[0-9a-f]{20}")
_BATCH = 512  # slices that are decoded before they are written


def cache_folder(chosen: Path | None) -> Path:
    """The folder for decoded slices.

    It is `chosen`; or else in `$TMPDIR`, a job's scratch disk; or else in the user's cache folder.
    """
    if chosen is not None:
        return chosen
    if scratch := os.environ.get("TMPDIR"):
        return Path(scratch) / f"vqvae-slices-{os.getuid()}"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "vqvae" / "slices"


def decoded_split(
    listing: Listing, split: SplitName, root: Path, folder: Path, *, skip: bool
) -> Path:
    """The cache entry of a split: a folder with its decoded slices, written now if it is missing.

    If several processes need it at the same time, one writes it and the others wait. The kernel
    releases the lock of a process that dies, and an unfinished entry never has the final name.

    Args:
        listing: the files of the split.
        split: which split.
        root: the data set's folder.
        folder: the cache folder.
        skip: leave out slices that cannot be read.

    Raises:
        InputError: a slice cannot be read, and `skip` is false.
        UnavailableError: `folder` cannot be written, or the data cannot be read now.
    """
    entry = cache_entry(listing, split, root, folder, skip=skip)
    if is_intact(entry):
        _mark_used(entry)
        return entry
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(entry.with_suffix(".lock")):
            if not is_intact(entry):
                _remove_stale(folder)
                if entry.exists():
                    shutil.rmtree(entry)
                _build(listing, split, entry, skip=skip)
    except OSError as error:
        raise UnavailableError(
            f"cache folder {folder} cannot be written ({error.strerror or error}); "
            "set data.cache or $TMPDIR to another folder"
        ) from error
    return entry


def cache_entry(
    listing: Listing, split: SplitName, root: Path, folder: Path, *, skip: bool
) -> Path:
    """The path of a split's cache entry, which need not exist; arguments as of `decoded_split`."""
    root_hash = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
    return folder / f"{split}-{root_hash}-{_key(listing, skip=skip)}"


def _key(listing: Listing, *, skip: bool) -> str:
    files = [(file.relative, file.size, file.mtime_ns) for file in listing.files]
    text = json.dumps([RULE, skip, files, listing.odd])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _mark_used(entry: Path) -> None:
    with contextlib.suppress(OSError):  # another user's cache can be read, but not written
        os.utime(entry / INDEX)


def is_intact(entry: Path) -> bool:
    """Whether an entry exists and can be mapped; a full disk or a power failure can truncate it."""
    try:
        for group in json.loads((entry / INDEX).read_text(encoding="utf-8"))["groups"]:
            np.load(entry / group["file"], mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Remove entries that were not used for a week, and unfinished ones of killed processes.

    Newer entries stay: a worker on another host may still have them mapped.
    """
    for old in folder.iterdir():
        if _ENTRY_NAME.match(old.name) is None:  # the folder may hold other files too
            continue
        with contextlib.suppress(OSError):
            mark = old / INDEX if (old / INDEX).exists() else old
            if time.time() - mark.stat().st_mtime <= _STALE:
                continue
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file; the kernel releases that of a process that dies."""
    with path.open("ab") as file:
        # Without locks (some file systems) the work is done twice, but correctly: the first rename
        # wins.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
            os.utime(path)  # in use, so that `_remove_stale` keeps it
        yield


def _build(listing: Listing, split: SplitName, entry: Path, *, skip: bool) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        index = _write_groups(listing, split, unfinished, skip=skip)
        write_whole(unfinished / INDEX, json.dumps(index).encode())
        try:
            unfinished.rename(entry)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_groups(
    listing: Listing, split: SplitName, folder: Path, *, skip: bool
) -> dict[str, Any]:
    groups: dict[tuple[int, ...], _Group] = {}
    skipped = list(listing.odd)
    if not skip:
        refuse_odd_names(listing)
    with contextlib.ExitStack() as stack:
        results = _decode_all(listing.files)
        what = f"decoding {split} slices"
        for file, result in track(results, what, len(listing.files)):
            if isinstance(result, InputError):
                if not skip or isinstance(result, UnavailableError):
                    raise result
                skipped.append(str(result))
                continue
            shape = result.shape
            if shape not in groups:
                groups[shape] = stack.enter_context(_Group(folder, shape))
            groups[shape].append(file, result)
    return {
        "groups": [groups[shape].summary() for shape in sorted(groups)],
        "skipped": skipped,
    }


def _decode_all(
    files: Sequence[SliceFile],
) -> Iterable[tuple[SliceFile, NDArray[np.uint16] | InputError]]:
    """Decode in parallel, and yield the results in order."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            yield from zip(batch, pool.map(_decode, batch), strict=True)


def _decode(file: SliceFile) -> NDArray[np.uint16] | InputError:
    try:
        scaled, _ = scale(read_slice(file.path, SMALLEST_SIDE).pixels)
    except InputError as error:
        return error
    return np.rint(scaled * _MAX_UINT16).astype(np.uint16)


class _Group:
    """A `.npy` file that is written one slice at a time; its header is corrected at the end."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.name = "x".join(map(str, shape)) + ".npy"
        self.names: list[tuple[int, int, int]] = []
        self._file: BinaryIO = (folder / self.name).open("wb")

    def __enter__(self) -> "_Group":
        self._header()
        return self

    def __exit__(self, *_: object) -> None:
        # NumPy pads a header so that its first axis can grow: both headers have the same length.
        self._file.seek(0)
        self._header()
        self._file.flush()
        os.fsync(self._file.fileno())  # else a power failure could keep the name and lose content
        self._file.close()

    def _header(self) -> None:
        fields = {"descr": "<u2", "fortran_order": False, "shape": (len(self.names), *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, fields)

    def append(self, file: SliceFile, pixels: NDArray[np.uint16]) -> None:
        self._file.write(np.ascontiguousarray(pixels, "<u2").data)
        self.names.append((file.name.case, file.name.week, file.name.slice))

    def summary(self) -> dict[str, Any]:
        return {"file": self.name, "names": self.names}
