import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from tests.vqvae.conftest import blobs, write_nifti
from vqvae.cli.main import main
from vqvae.config import Config
from vqvae.data.config import DataConfig

TOML = """
[data]
root = "{root}"
cache = "{cache}"
[model]
width = 8
residual_blocks = 1
codebook_size = 16
code_dimension = 4
[training]
epochs = 2
batch_size = 4
device = "cpu"
"""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def toml(data: DataConfig, tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TOML.format(root=data.root, cache=data.cache))
    return path


def test_train_evaluate_reconstruct(
    toml: Path, tmp_path: Path, data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    assert run("train", toml, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "CPU threads: " in shown
    assert "epoch 1/2" in shown
    assert "epoch 2/2" in shown
    assert run("train", toml, "--out", out) == 0
    assert "epoch 1/2" not in capsys.readouterr().out

    assert run("evaluate", "--model", out, "--json", "--device", "cpu") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["split"] == "validate"
    assert found["slices"] == 8
    assert run("evaluate", "--model", out / "best.pt", "--split", "test") == 0
    assert "inside the body" in capsys.readouterr().out

    scans = data.root / "keras_slices_data" / "keras_slices_test"
    assert run("reconstruct", "--model", out, scans, "--out", tmp_path / "made") == 0
    rows = list(csv.DictReader((tmp_path / "made" / "scores.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert all(-1 <= float(row["ssim"]) <= 1 for row in rows)


def test_a_reconstruction_has_the_geometry_and_intensities_of_its_scan(
    trained: Path, tmp_path: Path
) -> None:
    pixels = blobs(7, 33, 26)
    scan = write_nifti(tmp_path / "in" / "scan.nii.gz", pixels[..., None])

    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path / "out") == 0

    given, made = nibabel.load(scan), nibabel.load(tmp_path / "out" / "scan.nii.gz")
    assert made.shape == given.shape
    np.testing.assert_array_equal(made.affine, given.affine)
    values = made.get_fdata()
    assert pixels.min() - 1e-3 <= values.min()
    assert values.max() <= np.percentile(pixels, 99.9) + 1e-3
    with Image.open(tmp_path / "out" / "scan.png") as picture:
        assert picture.width > 200


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width = 8", "widht = 8", "no key is named model.widht; did you mean width"),
        ("width = 8", "width = 7", "model.width = 7: input should be a multiple of 2"),
        ("[training]", "[trainig]", "no key is named trainig; did you mean training?"),
        (
            "epochs = 2",
            "epochs = 'two'",
            "training.epochs = 'two': input should be a valid integer",
        ),
        ("[model]", "[model", "line"),
        ("batch_size = 4", "batch_size = 400", "training.batch_size = 400 is more than the 12"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(
    toml: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    toml.write_text(toml.read_text().replace(old, new))

    assert run("train", toml, "--out", toml.parent / "out") == 2

    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
    if "batch" not in message:
        assert str(toml) in shown


def test_debug_shows_where_it_went_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", tmp_path / "no.toml", "--out", tmp_path, "--debug") == 2

    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--model", "nowhere"], "nowhere: no such checkpoint"),
        (["evaluate", "--model", "{here}/text.pt"], "not a checkpoint of this program"),
        (["reconstruct", "absent.nii", "--model", "m", "--out", "o"], "absent.nii: no such file"),
        (["reconstruct", "{here}/text.pt", "--model", "m", "--out", "o"], "text.pt: not a scan"),
        (["reconstruct", "{here}", "--model", "m", "--out", "o"], "no file in it ends in .nii"),
    ],
)
def test_a_wrong_path_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint")

    assert run(*(argument.format(here=tmp_path) for argument in arguments)) == 2

    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1


def test_a_scan_is_never_written_over(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_nifti(tmp_path / "scan.nii", blobs(1, 32, 24))

    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path) == 2
    assert "would overwrite it" in capsys.readouterr().err

    other = write_nifti(tmp_path / "more" / "scan.nii", blobs(1, 32, 24))
    assert run("reconstruct", "--model", trained, scan, other, "--out", tmp_path / "out") == 2
    assert "would both be written" in capsys.readouterr().err


def test_one_bad_scan_does_not_keep_the_others_from_being_done(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tmp_path / "in"
    write_nifti(scans / "a_holes.nii", np.full((32, 24), np.nan, np.float32))
    write_nifti(scans / "b_four_axes.nii", np.zeros((32, 24, 3, 2), np.float32))
    write_nifti(scans / "c_small.nii", blobs(1, 24, 10))
    whole = write_nifti(scans / "d_cut.nii.gz", blobs(1, 32, 24))
    whole.write_bytes(whole.read_bytes()[:100])
    write_nifti(scans / "e [bold] good.nii.gz", blobs(2, 32, 24))

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 2

    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert len(lines) == 5
    names = (
        "a_holes",
        "b_four_axes",
        "c_small",
        "d_cut",
        "4 of 5 scans could not be reconstructed",
    )
    assert all(name in line for name, line in zip(names, lines, strict=True))
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [Path(row["source"]).name for row in rows] == ["e [bold] good.nii.gz"]
    assert "[bold]" in "".join(shown.out.split())


def test_scans_that_differ_in_their_suffix_have_a_picture_each(
    trained: Path, tmp_path: Path
) -> None:
    for name in ("s.nii", "s.nii.gz", "t.nii"):
        write_nifti(tmp_path / "in" / name, blobs(1, 32, 24))

    assert run("reconstruct", "--model", trained, tmp_path / "in", "--out", tmp_path / "out") == 0

    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == ["s.nii.gz.png", "s.nii.png", "t.png"]


def test_what_was_reconstructed_before_is_not_taken_for_scans(
    trained: Path, tmp_path: Path
) -> None:
    write_nifti(tmp_path / "scan.nii", blobs(1, 32, 24))

    for _ in range(2):
        assert run("reconstruct", "--model", trained, tmp_path, "--out", tmp_path / "out") == 0

    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.nii"))
    assert found == ["out/scan.nii", "scan.nii"]


@pytest.mark.parametrize("below", ["", "x"])
def test_a_file_in_the_way_is_found_before_the_work(
    toml: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    scan = write_nifti(tmp_path / "scan.nii", blobs(1, 32, 24))
    out = tmp_path / "file" / below

    assert run("train", toml, "--out", out) == 2
    assert run("reconstruct", "--model", trained, scan, "--out", out) == 2
    assert run("evaluate", "--model", tmp_path / "file" / "x") == 2

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("file: cannot be written" in line or "x: " in line for line in lines)


def test_one_patient_is_not_several(
    trained: Path, tmp_path: Path, data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    for path in (tmp_path / "set").rglob("case_041*"):
        path.unlink()
    toml = tmp_path / "c.toml"
    toml.write_text(f'[data]\nroot = "{tmp_path / "set"}"\ncache = "{tmp_path / "cache"}"\n')

    assert run("evaluate", "--model", trained, "--config", toml, "--split", "test") == 0

    assert "test: 4 slices of 1 patient " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "reconstruct"])
def test_a_misspelt_device_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["scan.nii", "--out", "o"] if command == "reconstruct" else []

    assert run(command, *rest, "--model", "m", "--device", "gpu") == 2

    assert "'gpu' is not one of" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_does_not_blame_the_configuration(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "--model", trained, "--device", "cuda") == 2

    shown = capsys.readouterr().err
    assert "torch sees no CUDA device here" in shown
    assert "training.device" not in shown


def test_a_training_that_diverges_is_a_failure(
    toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(toml.read_text() + 'optimizer = "sgd"\nlearning_rate = 1e30\n')

    assert run("train", toml, "--out", toml.parent / "out") == 1

    assert "training ended early" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["evaluate"], ["train"], ["nothing"], ["train", "--x"]])
def test_a_wrong_command_line_is_told_apart_from_failed_work(arguments: list[str]) -> None:
    assert run(*arguments) == 2


def test_asking_for_help_loads_no_torch() -> None:
    code = (
        "import sys, vqvae.cli.main, vqvae.sweep\n"
        "try: vqvae.cli.main.main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'scipy', 'numpy', 'nibabel', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "reconstruct" in done.stdout


def test_the_module_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vqvae", "data", "--help"], capture_output=True, check=False
    )

    assert done.returncode == 0


def test_a_resolved_configuration_is_what_the_file_says(toml: Path) -> None:
    from vqvae.config import read_config

    assert read_config(toml).model.width == 8
    assert isinstance(read_config(toml), Config)
