import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from vqvae.config import Config, DataConfig, PhantomConfig
from vqvae.errors import InputError
from vqvae.toml import MAX_BYTES, read_config


def refuse(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=match):
        read_config(tmp_path / "c.toml")


def test_every_section_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[data]\nroot = "x"\n[training]\nlearning_rate = 1e-5\n')

    found = read_config(tmp_path / "c.toml")

    assert found.training.learning_rate == 1e-5
    assert found.model.codebook_size == 512


def test_a_configuration_cannot_change(tmp_path: Path) -> None:
    config = Config.model_validate({"data": {"root": tmp_path}})

    with pytest.raises(ValidationError, match="frozen"):
        config.training.epochs = 3  # type: ignore[misc]


def test_a_misspelt_key_of_a_nested_table_is_named(tmp_path: Path) -> None:
    text = '[data]\nroot = "x"\n[data.phantom]\nslice = 3\n'

    refuse(tmp_path, text, r"c.toml: unknown key 'data.phantom.slice'; did you mean 'slices'")


def test_the_error_for_an_unknown_key_lists_all_valid_ones(tmp_path: Path) -> None:
    refuse(
        tmp_path,
        '[data]\nroot = "x"\n[qqq]\n',
        "unknown key 'qqq'; the valid ones are data, model, training",
    )


def test_the_error_for_a_value_names_the_valid_ones(tmp_path: Path) -> None:
    text = '[data]\nroot = "x"\n[model]\nstride = 3\n'

    refuse(tmp_path, text, r"model.stride = 3: input should be 2, 4, 8 or 16")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "it is not a file"),
        (os.mkfifo, "it is not a file"),
        (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "it has more than 1048576 bytes"),
        (lambda path: path.write_text('a = "\\u0007"'), "has a control character; remove it"),
        (lambda path: path.write_text("a = 9" + "0" * 30), "an integer has more than 64 bits"),
    ],
    ids=["folder", "pipe", "large", "control-character", "number"],
)
def test_a_file_that_cannot_be_a_configuration_is_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "c.toml")

    with pytest.raises(InputError, match=rf"c\.toml: cannot be read as TOML: .*{message}"):
        read_config(tmp_path / "c.toml")


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    refuse(tmp_path, "[model]\nwidth = 8\n", r"c\.toml: 'data' is missing")


def test_two_errors_are_reported_together(tmp_path: Path) -> None:
    text = '[data]\nroot = "x"\n[training]\nepochs = 0\nbatch_size = 0\n'

    refuse(tmp_path, text, r"training.batch_size = 0: .*; training.epochs = 0: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.toml: no such file"):
        read_config(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("training", "batch_size = true"),
        ("training", "epochs = '1'"),
        ("training", "epochs = 2.0"),
        ("training", "learning_rate = '1e-3'"),
        ("training", "learning_rate = true"),
        ("training", "learning_rate = inf"),
        ("training", "clip_norm = nan"),
        ("training", "seed = 4294967296"),
        ("model", "commitment = inf"),
        ("model", "width = 8.0"),
        ("data.phantom", "slices = true"),
    ],
)
def test_a_number_of_another_type_or_range_is_refused(
    tmp_path: Path, section: str, line: str
) -> None:
    name = line.split(" = ", maxsplit=1)[0]
    text = f'[data]\nroot = "x"\n[{section}]\n{line}\n'

    refuse(tmp_path, text, rf"{section}\.{name} = ")


def test_a_whole_number_is_accepted_as_a_float(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[data]\nroot = "x"\n[training]\nlearning_rate = 1\n')

    assert read_config(tmp_path / "c.toml").training.learning_rate == 1.0


def test_a_configuration_reads_back_from_its_json(tmp_path: Path) -> None:
    config = Config.model_validate({"data": {"root": tmp_path}})

    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        DataConfig.model_validate({"rot": "data"})


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DataConfig().on_bad_slice = "skip"  # type: ignore[misc]


@pytest.mark.parametrize("values", [{"width": 33}, {"train_patients": 0}, {"seed": -1}])
def test_values_out_of_bounds_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        PhantomConfig.model_validate(values)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("vqvae.config", {"numpy", "nibabel", "torch", "scipy", "rich"}),
        ("vqvae.data.splits", {"torch"}),
        ("vqvae.cli.data", {"torch"}),
    ],
)
def test_modules_do_not_import_heavy_packages(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not heavy & set(loaded.stdout.split())
