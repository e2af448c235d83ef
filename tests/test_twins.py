"""The two packages do not import each other, but their messages have the same form.

The code for that exists twice, once in each package; these tests compare the two copies.
"""

import ast
from pathlib import Path

import pytest
import typer

import sweeps.cli.exit
import sweeps.errors
import sweeps.text
import vqvae.cli.exit
import vqvae.errors
import vqvae.text

ROOT = Path(__file__).parents[1]
SAME_FUNCTIONS = {
    ("text.py", "text.py"): ("printable", "one_line", "did_you_mean", "count", "_escaped"),
    ("cli/exit.py", "cli/exit.py"): (
        *("run_and_exit", "_print_all", "_as_input_error", "_print_usage_error", "_print_line"),
    ),
    ("config/toml.py", "toml.py"): ("_read_text", "_refuse_invalid"),
}
"""Functions by their files, in `sweeps` and in `vqvae`."""
SAME_FILES = ("cli/lazy.py", "streams.py")
MESSAGES = ("plain", "two\nlines", "escape \x1b[2J", "https://me:secret@host/path", "x" * 3000, "")


def functions(path: Path) -> dict[str, str]:
    """The source of each function of a module."""
    text = path.read_text()
    return {
        node.name: str(ast.get_source_segment(text, node))
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("files", SAME_FUNCTIONS)
def test_functions_that_exist_twice_are_identical(files: tuple[str, str]) -> None:
    one, other = functions(ROOT / "sweeps" / files[0]), functions(ROOT / "vqvae" / files[1])
    assert [n for n in SAME_FUNCTIONS[files] if one[n] != other[n]] == []


def test_an_interrupt_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    for program in (sweeps.cli.exit, vqvae.cli.exit):
        assert program.print_error(typer.Abort()) == 1
        assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("file", SAME_FILES)
def test_files_that_exist_twice_are_identical(file: str) -> None:
    assert (ROOT / "sweeps" / file).read_text() == (ROOT / "vqvae" / file).read_text()


def test_the_modules_that_show_tables_differ_in_their_imports_alone() -> None:
    one, other = ((ROOT / package / "tables.py").read_text() for package in ("sweeps", "vqvae"))
    assert one.replace("from sweeps.", "from vqvae.") == other


@pytest.mark.parametrize("message", MESSAGES)
def test_errors_are_printed_in_the_same_way(
    message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for exit_, errors in ((sweeps.cli.exit, sweeps.errors), (vqvae.cli.exit, vqvae.errors)):
        for error in (errors.InputError(message), OSError(message), KeyError(message)):
            status = exit_.print_error(error)
            printed.append((type(error).__name__, status, capsys.readouterr().err))
    half = len(printed) // 2
    assert printed[:half] == printed[half:]
    assert [status for _, status, _ in printed[:half]] == [2, 1, 1]
    assert all(err.startswith("error: ") and err.count("\n") == 1 for _, _, err in printed)
    assert "secret" not in "".join(err for _, _, err in printed)


@pytest.mark.parametrize("word", ["trails", "epoch", "nothing like it", "learning_rate"])
def test_similar_names_are_suggested_in_the_same_way(word: str) -> None:
    valid = ["trials", "training.epochs", "training.learning_rate"]
    assert sweeps.text.did_you_mean(word, valid) == vqvae.text.did_you_mean(word, valid)


def test_an_unknown_key_gives_the_same_message(tmp_path: Path) -> None:
    from sweeps.config.toml import StrictModel, read_toml, validate
    from vqvae.toml import read_config

    class Training(StrictModel):
        epochs: int = 1

    class Config(StrictModel):
        training: Training = Training()

    path = tmp_path / "config.toml"
    path.write_text("[training]\nepoch = 3\n[data]\n")
    expected = r"unknown key 'training\.epoch'; did you mean 'epochs'\?"
    for read in (lambda: validate(read_toml(path), Config, str(path)), lambda: read_config(path)):
        with pytest.raises(ValueError, match=expected):
            read()
