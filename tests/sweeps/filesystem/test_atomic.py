import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from sweeps.filesystem import atomic


def test_only_the_first_of_many_calls_creates_the_file(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    created = [atomic.create(path, str(number)) for number in range(5)]
    assert created == [True, False, False, False, False]
    assert path.read_text() == "0"
    assert [entry.name for entry in tmp_path.iterdir()] == ["claim"]


def _create(path: Path) -> bool:
    return atomic.create(path, str(os.getpid()))


def test_only_one_of_many_processes_creates_the_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(20):
            created = pool.map(_create, [tmp_path / f"claim-{number}"] * 4)
            assert sum(created) == 1


def test_an_append_removes_a_partial_line_first(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    atomic.append(path, '{"epoch": 1}')
    with path.open("a") as file:
        file.write('{"epo')
    assert list(atomic.read_lines(path)) == [{"epoch": 1}]
    atomic.append(path, '{"epoch": 2}')
    assert list(atomic.read_lines(path)) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 20_000])
def test_a_partial_line_of_any_length_is_removed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "rows"
    path.write_text("1\n" + "x" * length)
    atomic.append(path, "2")
    assert path.read_text() == "1\n2\n"


def test_an_append_that_fails_on_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows"
    atomic.append(path, "1")
    write = os.pwrite

    def half(handle: int, content: bytes, offset: int) -> int:
        if offset > 2:
            raise OSError(errno.ENOSPC, "no space left")
        return write(handle, content[:1], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="no space"):
        atomic.append(path, "234")
    monkeypatch.undo()
    assert path.read_text() == "1\n"


def test_a_replacement_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result"
    atomic.write(path, "old")

    def fail(*_: object) -> int:
        raise OSError(errno.EDQUOT, "over quota")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OSError, match="over quota"):
        atomic.write(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "\udcfc" * 255])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    atomic.write(tmp_path / name, "content")
    assert not atomic.create(tmp_path / name, "other")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "content"


def test_a_file_that_may_not_be_replaced_leaves_no_draft(tmp_path: Path) -> None:
    """As another user's file in a folder with the sticky bit."""
    (tmp_path / "source").write_text("content")
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="irectory"):
        atomic.write(tmp_path / "taken", "content")
    with pytest.raises(OSError, match="irectory"):
        atomic.share(tmp_path / "source", tmp_path / "taken")
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "taken"}
