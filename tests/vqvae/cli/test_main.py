import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vqvae.conftest import blobs, write_nifti
from vqvae.cli.lazy import load_command
from vqvae.cli.main import COMMANDS, main
from vqvae.config import DataConfig


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


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


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_a_wrong_path_gives_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint")

    assert run(*(argument.format(here=tmp_path) for argument in arguments)) == 2

    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("below", ["", "x"])
def test_a_file_in_place_of_the_output_folder_is_found_before_the_work(
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


@pytest.mark.parametrize("command", ["evaluate", "reconstruct"])
def test_a_misspelt_device_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["scan.nii", "--out", "o"] if command == "reconstruct" else []

    assert run(command, *rest, "--model", "m", "--device", "gpu") == 2

    assert "'gpu' is not one of" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["evaluate"], ["train"], ["nothing"], ["train", "--x"]])
def test_a_wrong_command_line_has_its_own_exit_status(arguments: list[str]) -> None:
    assert run(*arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "heavy", "named"),
    [
        (["--help"], {"torch", "scipy", "numpy", "nibabel", "PIL"}, "reconstruct"),
        (["data", "--help"], {"torch"}, "phantom"),
        (["train", "--help"], {"torch"}, "threads"),
        (["evaluate", "--help"], {"torch"}, "split"),
        (["reconstruct", "--help"], {"torch"}, "NIfTI"),
        (["encode", "--help"], {"torch"}, "codes"),
        (["decode", "--help"], {"torch"}, "codes"),
    ],
)
def test_help_does_not_import_torch(arguments: list[str], heavy: set[str], named: str) -> None:
    code = (
        "import sys, vqvae.cli.main, vqvae.sweep\n"
        f"try: vqvae.cli.main.main({arguments})\n"
        "except SystemExit as end: code = end.code\n"
        f"heavy = {heavy} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert named in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_each_command_is_the_first_line_of_its_own_help(name: str) -> None:
    location, line = COMMANDS[name]

    assert load_command(name, location).help.splitlines()[0] == line


def test_the_error_for_a_misspelt_command_names_the_closest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("trian") == 2

    shown = capsys.readouterr().err
    assert shown == "error: No such command 'trian'. Did you mean 'train'?; see: vqvae --help\n"


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vqvae", "data", "--help"], capture_output=True, check=False
    )

    assert done.returncode == 0
