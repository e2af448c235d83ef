"""Writing files and folders atomically: a reader sees all of the content, or none of it."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqvae.errors import InputError

_LONG_NAME = 100
"""Bytes of a name that is too long to be a part of a draft's name."""


def check_writable(folder: Path, what: str, advice: str) -> None:
    """Check that files can be created in a folder that need not exist.

    Args:
        folder: the folder.
        what: its name in the message.
        advice: what to set to another folder.

    Raises:
        InputError: they cannot.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return
    reason = f"{existing} is read-only for you" if existing.is_dir() else f"{existing} is a file"
    raise InputError(f"{what} cannot be written ({reason}); {advice} to another folder")


def make_writable(folder: Path) -> None:
    """Create `folder` if needed, and check that it can be written: before the work, not after it.

    Raises:
        InputError: it cannot be written, or it is not a folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); name another folder") from error


@contextlib.contextmanager
def output(folder: Path) -> Iterator[None]:
    """Create `folder` for what the block writes; remove it again if the block writes nothing.

    Raises:
        InputError: `folder` cannot be written.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    make_writable(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder is not empty
            for path in created:
                path.rmdir()


def holds_something(path: Path) -> bool:
    """Whether `path` exists and is not an empty folder."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def refuse_taken(path: Path) -> None:
    """Check that a new folder can be created at `path`.

    Raises:
        InputError: something is there already.
    """
    if holds_something(path):
        raise InputError(f"{path} is not empty; name another folder, or remove it first")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which is renamed to `path` unless the block raises.

    Raises:
        InputError: something is at `path` before or after the block, or it cannot be written.
    """
    refuse_taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name[:25]}-", dir=path.parent))
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.rename(path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` so that a reader sees the old file or the new one, never a partial one.

    The bytes are written under another name in the same folder, synced, and renamed. The folder is
    synced too: otherwise a power failure could undo the renaming. It is created if needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path)
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def share_whole(source: Path, target: Path) -> None:
    """Make `target` a second name of the file `source`, replacing any file at `target`.

    A hard link takes no disk space and no time. It is safe because this package never writes into a
    file that has its final name. Where links are not possible (another file system), the content is
    copied.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(target)
    draft.unlink(missing_ok=True)
    try:
        draft.hardlink_to(source)
    except OSError:
        write_whole(target, source.read_bytes())
        return
    # Renaming one name of a file to another name of it does nothing and leaves both: hence unlink.
    draft.replace(target)
    draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def clear_drafts(folder: Path) -> None:
    """Remove the files that killed writers left in `folder`; the caller must be its only writer."""
    for draft in folder.glob(".*.draft-*"):
        draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    """The file that is renamed to `path`. Its name is not too long where that of `path` is not."""
    name = path.name
    if len(os.fsencode(name)) > _LONG_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.draft-{os.getpid()}")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_error(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
        return InputError(f"{path} is not empty; name another folder, or remove it first")
    return InputError(f"{path} cannot be written ({error.strerror or error}); name another folder")
