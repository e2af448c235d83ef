from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vqvae.cli.data import app
from vqvae.errors import InputError

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    """The output of a command; an exception of the command is raised."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_phantom_is_written_and_passes_the_check(tmp_path: Path) -> None:
    small = "--train-patients 1 --validate-patients 1 --test-patients 1 --volumes 1 --slices 5"
    sizes = "--height 32 --width 32"
    out = tmp_path / "p"
    assert "15 slices of 3 patients" in run("phantom", out, *small.split(), *sizes.split())
    table = run("check", out)
    assert "32x36: 5" in table
    assert "uint16: 5" in table
    with pytest.raises(InputError, match="is not empty"):
        run("phantom", out)


def test_a_value_out_of_bounds_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--train-patients 0: input should be greater than"):
        run("phantom", tmp_path / "p", "--train-patients", "0")
    assert not (tmp_path / "p").exists()


def test_import_shows_the_patients_it_found(tmp_path: Path, write: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 500, (12, 10, 3)).astype(np.int16)
    for name in ("patient01_a", "patient01_b", "patient02_a", "patient07_a"):
        write(tmp_path / "in" / f"{name}.nii.gz", values)
    shown = run("import", tmp_path / "in", tmp_path / "out", "--size", "16x16", "--split", "1,1,1")
    assert "patient pattern (guessed)" in shown
    assert "4 files of 3 patients" in shown
    assert "patient07 (case 007)" in shown
    assert "with too little tissue left out" in shown
    assert "16x16: 3" in run("check", tmp_path / "out")
    with pytest.raises(InputError, match="out is not empty"):
        run("import", tmp_path / "in", tmp_path / "out")


def test_check_names_the_problem_of_a_data_set_without_any_slice(tmp_path: Path) -> None:
    for split in ("train", "validate", "test"):
        (tmp_path / "set" / f"keras_slices_{split}").mkdir(parents=True)
    with pytest.raises(InputError, match=r"3 problems \(listed above\)"):
        run("check", tmp_path / "set")


def test_new_labels_are_refused_where_no_label_maps_are_imported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --labels import with it"):
        run("import", tmp_path, tmp_path / "out", "--relabel", "1=2")


def test_check_fails_if_there_are_problems(phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for split in ("train", "validate", "test"):
        source = phantom / "keras_slices_data" / f"keras_slices_{split}"
        (folder / source.name).mkdir(parents=True)
        file = next(path for path in source.iterdir() if path.suffix == ".gz")
        (folder / source.name / file.name).write_bytes(file.read_bytes()[:99])
    with pytest.raises(InputError, match=r"3 problems \(listed above\)"):
        run("check", folder)
