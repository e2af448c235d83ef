from pathlib import Path

import pytest

from vqvae.files import share_whole, write_whole


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
