"""Writing files and folders so that a reader sees them whole or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqvae.errors import InputError


def make_writable(folder: Path) -> None:
    """Make `folder` if need be, and see that it can be written into: before the work, not after.

    Raises:
        InputError: it cannot, or something else has its name.
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
    """Make `folder` for what the block writes; if that is nothing, leave no folder behind.

    Raises:
        InputError: it cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    make_writable(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # something lies in it
            for place in made:
                place.rmdir()


def holds_something(path: Path) -> bool:
    """Whether anything but an empty folder is there."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def refuse_taken(path: Path) -> None:
    """Raise unless a new folder may go there.

    Raises:
        InputError: something is there already.
    """
    if holds_something(path):
        raise InputError(f"{path} is not empty; name another folder, or remove it first")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its place if nothing is raised.

    Raises:
        InputError: something is at `path` already, also if it came meanwhile; or the file system
            refuses to write.
    """
    refuse_taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
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
    """Write `content` so that a reader sees the old file or the new one, never a part.

    The bytes go to another name in the same folder, are synced, and take the name over; the
    folder is synced too, or a power cut could undo the renaming. The folder is made if need be.
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
    """Give `source`'s content the name `target` as well, replacing what had it.

    A hard link costs no space and no time, and is safe because nothing here writes into a file
    that has its final name. Where links are not to be had (another file system), a copy is made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(target)
    draft.unlink(missing_ok=True)
    try:
        draft.hardlink_to(source)
    except OSError:
        write_whole(target, source.read_bytes())
        return
    # A rename between two names of one file does nothing and leaves both: hence the last unlink.
    draft.replace(target)
    draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def clear_drafts(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; the caller is its only writer now."""
    for draft in folder.glob(".*.draft-*"):
        draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft-{os.getpid()}")


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
