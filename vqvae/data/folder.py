"""A folder that appears whole or not at all."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqvae.errors import InputError


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
        raise _cannot(path, error) from error
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.rename(path)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _cannot(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
        return InputError(f"{path} is not empty; name another folder, or remove it first")
    return InputError(f"{path} cannot be written ({error.strerror or error}); name another folder")
