"""Atomic writes to files that other processes read: a reader sees all of a write or nothing.

Three ways of writing are safe on a shared file system, and this module has these only: write under
another name and rename (the last writer wins), link a finished file into place (the first writer
wins), append whole lines (readers ignore an unfinished last line).
"""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write(path: Path, content: str | bytes) -> None:
    """Replace `path` with `content`: a reader sees the old file or the new one, never a part."""
    draft = _draft(path, content)
    _rename(draft, path)
    _sync_folder(path.parent)


def create(path: Path, content: str, *, sync: bool = True) -> bool:
    """Create `path` unless it exists; return whether this call created it.

    A hard link is the only exclusive create that also works if NFS loses the answer to a request:
    the link count of the draft then shows whether the link was made. `sync=False` is for content
    that need not survive a power failure.
    """
    draft = _draft(path, content, sync=sync)
    try:
        os.link(draft, path)
    except FileExistsError:
        return draft.stat().st_nlink == 2  # two names, the draft and `path`: this call made it
    else:
        return True
    finally:
        draft.unlink()


def share(source: Path, target: Path) -> None:
    """Make `target` a second name of the file `source`, replacing any file at `target`.

    A hard link takes no space and no time. It is safe because no file is written in place once it
    has its name. Where links are not possible (another file system), the content is copied.
    """
    draft = _draft_name(target)
    try:
        draft.hardlink_to(source)
    except OSError:
        write(target, source.read_bytes())
        return
    _rename(draft, target)
    draft.unlink(missing_ok=True)  # renaming one name of a file to another one leaves both
    _sync_folder(target.parent)


def append(path: Path, line: str) -> None:
    """Append a line to a file that has one writer; first remove a partial last line."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = truncate_partial_line(handle)
        write_all(handle, (line + "\n").encode(), end)
    finally:
        os.close(handle)


def truncate_partial_line(handle: int) -> int:
    """Truncate an open file after its last newline; return its new length in bytes."""
    size = os.fstat(handle).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size and os.fstat(handle).st_size == size:
        os.ftruncate(handle, end)
    return end


def write_all(handle: int, content: bytes, offset: int, *, sync: bool = True) -> int:
    """Write all of `content` at `offset` and sync; return the offset of its end.

    A write that fails is undone, unless another process has written after it meanwhile. If the
    sync fails, the content stays: other processes may have read it already.
    """
    written = 0
    try:
        while written < len(content):
            written += os.pwrite(handle, content[written:], offset + written)
    except OSError:
        if os.fstat(handle).st_size == offset + written:
            os.ftruncate(handle, offset)
        raise
    if sync:
        os.fsync(handle)
    return offset + written


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`; None if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the JSON value of each finished line of `path`; nothing if there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        yield json.loads(line)


def _draft_name(path: Path) -> Path:
    # Only the start of the name: the draft's name is then not too long where that of `path` is not.
    return path.with_name(f".{path.name[:25]}.{uuid.uuid4().hex[:12]}")


def _draft(path: Path, content: str | bytes, *, sync: bool = True) -> Path:
    draft = _draft_name(path)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        write_all(handle, content.encode() if isinstance(content, str) else content, 0, sync=sync)
    except OSError:
        draft.unlink()
        raise
    finally:
        os.close(handle)
    return draft


def _rename(draft: Path, path: Path) -> None:
    try:
        draft.replace(path)
    except OSError:  # in a folder with the sticky bit another user's file stays
        draft.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
