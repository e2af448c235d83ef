"""Many files in one command: each is done or named, whatever happens to the others."""

import csv
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.vqvae.cli.test_main import run
from tests.vqvae.conftest import blobs, write_nifti
from vqvae import files
from vqvae.inference import reconstruct as reconstructing

LONGEST = "n" * 248 + ".nii.gz"
"""A name of 255 bytes: that of its file of codes would be too long."""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", blobs(1, 32, 24))
    return tmp_path / "in"


def rows(out: Path) -> list[str]:
    """The names of the scans in the table of scores."""
    table = csv.DictReader((out / "scores.csv").read_text(encoding="utf-8").splitlines())
    return [Path(row["source"]).name for row in table]


def name_of(cell: str) -> str:
    """The name that a cell of the table stands for."""
    return os.fsdecode(
        cell.encode().replace(rb"\\", b"\0").replace(rb"\xfc", b"\xfc").replace(b"\0", b"\\")
    )


@pytest.mark.parametrize("command", ["reconstruct", "encode"])
def test_an_output_name_taken_by_a_folder_stops_no_other_scan(
    trained: Path, scans: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = ".vqc" if command == "encode" else ""
    (tmp_path / "out" / f"b.nii.gz{suffix}").mkdir(parents=True)
    (tmp_path / "out" / "d").touch()
    write_nifti(scans / "d" / "e.nii", blobs(1, 32, 24))

    assert run(command, "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert f"b.nii.gz{suffix} cannot be written (a folder has this name)" in lines[0]
    assert f"{scans / 'd' / 'e.nii'}: " in lines[1]
    assert lines[2] == "error: 2 of 4 files failed (listed above)"
    made = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {f"a.nii.gz{suffix}", f"c.nii.gz{suffix}"} <= made
    if command == "reconstruct":
        assert rows(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]


def test_names_that_are_not_utf8_or_very_long_are_reconstructed(
    trained: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [
        "m\udcfcller.nii.gz",
        r"m\xfcller.nii.gz",
        "x" * 241 + ".nii.gz",
        LONGEST,
        "$a_{b.nii.gz",
    ]
    for name in odd:
        os.link(scans / "a.nii.gz", scans / name)

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().err == ""

    names = {"a.nii.gz", "b.nii.gz", "c.nii.gz", *odd}
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == names
    assert len(list((tmp_path / "out").glob("*.png"))) == len(names)
    assert {name_of(name) for name in rows(tmp_path / "out")} == names


def test_a_name_that_is_too_long_for_its_codes_is_named(
    trained: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.link(scans / "a.nii.gz", scans / LONGEST)

    assert run("encode", "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{scans / LONGEST}: ")
    assert lines[0].endswith("(its name is too long); rename the input to a shorter one")
    assert lines[1] == "error: 1 of 4 files failed (listed above)"
    assert len(list((tmp_path / "out").iterdir())) == 3


def failing_at(name: str, error: BaseException) -> Callable[..., None]:
    """The function that writes files, with an error at files of one name."""
    write = files.write_whole

    def write_or_fail(path: Path, content: bytes) -> None:
        if path.name == name:
            raise error
        write(path, content)

    return write_or_fail


def test_a_disk_error_at_one_output_stops_no_other_scan(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = failing_at("b.nii.gz", OSError(errno.EIO, os.strerror(errno.EIO)))
    monkeypatch.setattr("vqvae.data.nifti.write_whole", broken)

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    target = tmp_path / "out" / "b.nii.gz"
    reason = f"{target} cannot be written (Input/output error)"
    assert lines == [
        f"{scans / 'b.nii.gz'}: {reason}",
        "error: 1 of 3 files failed (listed above)",
    ]
    assert rows(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]


def test_a_scan_whose_figure_cannot_be_written_keeps_its_scores(
    trained: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "b.png").mkdir(parents=True)

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'out' / 'b.png'} cannot be written (a folder has this name)" in lines[0]
    assert lines[0].endswith("; the reconstruction is written")
    assert lines[1] == "error: 1 of 3 files failed (listed above)"
    assert rows(tmp_path / "out") == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert (tmp_path / "out" / "b.nii.gz").is_file()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA out of memory. Tried\nto allocate"), "CUDA out of memory. Tried to"),
        (MemoryError(), "not enough memory; split it into smaller volumes"),
        (OSError(errno.EIO, "Input/output error"), "cannot be read (Input/output error)"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_at_one_scan_stops_no_other(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:

    def fail() -> None:
        raise error

    at_call(monkeypatch, 1, fail)

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out", "--debug") == 1

    shown = capsys.readouterr().err
    lines = shown.splitlines()
    assert lines[0].startswith(f"{scans / 'b.nii.gz'}: ")
    assert reason in lines[0]
    assert lines[-1] == "error: 1 of 3 files failed (listed above)"
    assert ("in act_here" in shown) == isinstance(error, RuntimeError | ValueError)
    assert rows(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_the_scores_of_what_is_done(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    write_nifti(scans / "a_small.nii", np.zeros((5, 5), np.float32))
    at_call(monkeypatch, 2, lambda: os.kill(os.getpid(), number))

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    assert "a_small.nii: " in lines[0]
    assert lines[1] == (
        "error: interrupted when 2 of 4 files were done; 1 of 4 files failed (listed above)"
    )
    assert rows(tmp_path / "out") == ["a.nii.gz", "b.nii.gz"]


def test_scores_that_cannot_be_written_are_printed_whole(
    trained: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for at in range(12):
        os.link(scans / "a.nii.gz", scans / f"more_{at}.nii.gz")
    (tmp_path / "out" / "scores.csv").mkdir(parents=True)

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 1

    shown = capsys.readouterr()
    assert f"{tmp_path / 'out' / 'scores.csv'} cannot be written (Is a directory)" in shown.err
    assert shown.err.splitlines()[-1] == "error: 1 of 16 files failed (listed above)"
    assert shown.out.count("more_") == 12


def test_a_full_disk_is_named_for_each_scan(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vqvae.files.os.fsync", full)
    assert run("encode", "--model", trained, scans, "--out", tmp_path / "out") == 1

    lines = capsys.readouterr().err.splitlines()
    assert [("No space left on device" in line) for line in lines] == [True, True, True, False]
    assert lines[3] == "error: 3 of 3 files failed (listed above)"
    assert not (tmp_path / "out").exists()


def test_the_only_scan_is_one_line_with_the_status_of_its_fault(
    trained: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = scans / "a.nii.gz"
    (tmp_path / "out" / scan.name).mkdir(parents=True)
    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path / "out") == 1
    assert capsys.readouterr().err.count("\n") == 1

    scan.write_bytes(b"nothing")
    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.count("\n") == 1


def at_call(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Act when the model is given one of the scans; they are counted from 0."""
    calls = iter(range(100))
    reconstruct_slice = reconstructing.reconstruct_slice

    def act_here(*arguments: object) -> object:
        if next(calls) == number:
            act()
        return reconstruct_slice(*arguments)

    monkeypatch.setattr(reconstructing, "reconstruct_slice", act_here)
