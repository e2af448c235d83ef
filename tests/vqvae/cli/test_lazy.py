import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "quick": """
def greet(name: str, loud: bool = False) -> None:
    '''Say hello.'''
    print(name.upper() if loud else name)
""",
    "sub": """
import typer
app = typer.Typer(no_args_is_help=True, add_completion=False)
@app.command()
def one() -> None:
    print("one is done")
@app.command()
def two() -> None:
    print("two is done")
""",
    "slow": """
import decimal
def work() -> None:
    print("work is done")
""",
    "broken": "import a_module_that_is_not_there",
}
PROGRAM = """
import sys
from vqvae.cli.exit import run_and_exit
from vqvae.cli.lazy import lazy_app
app = lazy_app("What it does.", {
    "greet": ("quick:greet", "Say hello."),
    "slow-work": ("slow:work", "Take long."),
    "group": ("sub:app", "One and two."),
    "internal": ("slow:work", ""),
    "broken": ("broken:nothing", "Fail."),
})
try:
    run_and_exit("program", app, sys.argv[1:])
finally:
    print("loaded:", *sorted({"quick", "sub", "slow", "broken"} & set(sys.modules)))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def run(program: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, program, *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{program.parent}:{Path.cwd()}", "COLUMNS": "200"},
    )
    return done.returncode, done.stdout, done.stderr


def test_the_help_lists_the_commands_and_imports_none(program: Path) -> None:
    status, shown, _ = run(program, "--help")

    assert status == 0
    assert "What it does." in shown
    lines = ("Say hello.", "Take long.", "One and two.", "Fail.")
    positions = [shown.index(line) for line in lines]
    assert positions == sorted(positions)
    assert "internal" not in shown
    assert shown.endswith("loaded:\n")


@pytest.mark.parametrize(
    ("arguments", "printed", "loaded"),
    [
        (["greet", "ann"], "ann", "quick"),
        (["greet", "ann", "--loud"], "ANN", "quick"),
        (["group", "two"], "two is done", "sub"),
        (["slow-work"], "work is done", "slow"),
        (["internal"], "work is done", "slow"),
    ],
)
def test_only_the_named_command_is_imported(
    program: Path, arguments: list[str], printed: str, loaded: str
) -> None:
    assert run(program, *arguments) == (0, f"{printed}\nloaded: {loaded}\n", "")


def test_a_commands_own_help_has_its_options(program: Path) -> None:
    status, shown, _ = run(program, "greet", "--help")

    assert status == 0
    assert "--loud" in shown
    assert "Usage: program greet" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gret"], "No such command 'gret'. Did you mean 'greet'?; see: program --help"),
        (["--lout"], "No such option: --lout; see: program --help"),
        (["greet", "ann", "--lout"], "No such option: --lout"),
        (["greet"], "Missing argument 'name'; see: program greet --help"),
        (["group", "thre"], "No such command 'thre'"),
    ],
)
def test_a_wrong_command_line_gives_an_error_of_one_line(
    program: Path, arguments: list[str], message: str
) -> None:
    status, _, errors = run(program, *arguments)

    assert status == 2
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


def test_a_command_that_cannot_be_imported_gives_an_error_of_one_line(program: Path) -> None:
    status, _, errors = run(program, "broken")

    assert status == 1
    assert errors == "error: ModuleNotFoundError: No module named 'a_module_that_is_not_there'\n"
