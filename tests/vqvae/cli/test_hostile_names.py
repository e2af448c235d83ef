"""Hostile names of folders, files and patients are used as names and printed as text."""

from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.text import HOSTILE
from tests.vqvae.cli.test_main import run
from tests.vqvae.conftest import blobs, write_nifti
from vqvae.config import ModelConfig
from vqvae.export.write import _describe
from vqvae.model.vqvae import VQVAE

# Each as one component of a path, without names of dots and spaces, and without very long ones.
NAMES = [n.replace("/", "_") for n in HOSTILE if n.strip(". ") and len(n) < 200 and "\0" not in n]


def output_is_printable(capsys: pytest.CaptureFixture[str]) -> bool:
    shown = capsys.readouterr()
    return all(c.isprintable() or c == "\n" for c in shown.out + shown.err)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_with_a_hostile_name_is_written_and_checked(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--train-patients", "1", "--validate-patients", "1", "--test-patients", "1"]
    few += ["--volumes", "1", "--slices", "1", "--height", "32", "--width", "32"]

    assert run("data", "phantom", *few, "--", tmp_path / name) == 0
    assert run("data", "check", "--", tmp_path / name) == 0

    assert output_is_printable(capsys)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_scans_and_patients_with_hostile_names_are_processed(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for at, name in enumerate(NAMES):
        write_nifti(tmp_path / "in" / f"sub-{at}" / f"x{name}.nii", blobs(at, 24, 20))

    assert run("reconstruct", "in", "--model", trained, "--out", "out", "--device", "cpu") == 0
    assert run("encode", "in", "--model", trained, "--out", "codes", "--device", "cpu") == 0
    assert run("decode", "codes", "--model", trained, "--out", "back", "--device", "cpu") == 0
    assert run(
        "data", "import", "in", "made", "--patient", "(x.*)[.]nii", "--split", "0.5,0.3,0.2"
    ) in {0, 2}

    assert output_is_printable(capsys)
    assert len(list((tmp_path / "out").rglob("*.nii"))) == len(NAMES)
    assert len(list((tmp_path / "back").rglob("*.nii"))) == len(NAMES)
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out", "codes", "back", "made"}


@pytest.mark.parametrize("name", NAMES)
def test_a_packages_description_holds_no_markup(name: str) -> None:
    about = _describe(VQVAE(ModelConfig(width=4)), {}, name).about
    shown = about.partition("of the data set `")[2].partition("` alone")[0]
    assert shown
    assert not set("<>[]|`\n\x1b") & set(shown)


def test_extreme_intensities_are_refused_without_a_warning(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.zeros((24, 20), np.float64)
    values[0, 0] = 1e300
    scan = write_nifti(tmp_path / "s.nii", values)

    assert run("reconstruct", scan, "--model", trained, "--out", tmp_path / "out") == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
