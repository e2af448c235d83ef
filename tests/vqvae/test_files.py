from pathlib import Path

import pytest

from vqvae.files import new_folder, share_whole, write_whole

LONGEST = ("x" * 255, "ü" * 127, "\udcfc" * 255)
"""Names of 254 and 255 bytes; the last one is not UTF-8. A Linux file system allows 255."""


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk quota exceeded")

    monkeypatch.setattr("vqvae.files.os.fsync", fail)
    with pytest.raises(OSError, match="quota"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_shared_file_is_copied_where_links_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_bytes(b"content")

    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    share_whole(tmp_path / "one", tmp_path / "two")
    share_whole(tmp_path / "one", tmp_path / "two")

    assert (tmp_path / "two").read_bytes() == b"content"
    assert not (tmp_path / "two").samefile(tmp_path / "one")


def test_sharing_twice_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")

    share_whole(tmp_path / "one", tmp_path / "two")
    share_whole(tmp_path / "one", tmp_path / "two")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize("name", LONGEST)
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"content")
    share_whole(tmp_path / name, tmp_path / "below" / name)
    with new_folder(tmp_path / "folders" / name) as unfinished:
        (unfinished / "file").touch()

    assert (tmp_path / "below" / name).read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "folders").iterdir()] == [name]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["below", "folders", name])
