"""What the programs print can be read in any encoding and at any width, or fails in one line.

Every command of both programs runs as a process of its own.
"""

import contextlib
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from sweeps.cli.lazy import load_command
from sweeps.streams import OutputError
from tests.fuzz import material

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("output")  # one process, so that the material is made once
NAME = "é → ±"  # a name that ASCII and Latin-1 do not have
LOCALE_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WIDTHS = {"ascii": 20, "ascii:strict": 80, "latin-1": 33, "cp1252": 80, "utf-16": 20, "utf-8": 33}
"""Encodings, each with a width in columns."""

LINES: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {
    ("sweeps", "run"): (("tiny.toml", "--cluster", "here"), 0),
    ("sweeps", "plan"): (("tiny.toml", "--cluster", "here"), 0),
    ("sweeps", "doctor"): (("tiny.toml", "--cluster", "here"), 0),
    ("sweeps", "watch"): (("tiny",), 0),
    ("sweeps", "status"): (("tiny",), 0),
    ("sweeps", "show"): (("0",), 0),
    ("sweeps", "export"): (("--csv",), 0),
    ("sweeps", "report"): (("tiny",), 0),
    ("sweeps", "compare"): (("tiny", "tiny"), 2),
    ("sweeps", "rerun"): (("0", "--seed", "1"), 0),
    ("sweeps", "stop"): (("tiny",), 0),
    ("sweeps", "sync"): (("tiny",), 0),
    ("sweeps", "ui"): (("--port", "→"), 2),
    ("sweeps", "dashboard"): (("--port", "→"), 2),
    ("sweeps", "clean"): ((), 0),
    ("sweeps", "promote"): (("tiny", "--dry-run"), 0),
    ("sweeps", "rollback"): ((), 2),
    ("sweeps", "models"): ((), 0),
    ("sweeps", "submit"): (("runs/tiny",), 0),
    ("sweeps", "work"): (("runs/tiny", "--job", "job"), 0),
    ("sweeps", "publish"): (("runs/tiny", "--parent", "4000000"), 0),
    ("vqvae", "train"): (("→.toml", "--out", "out"), 2),
    ("vqvae", "evaluate"): (("--model", "trained", "--device", "cpu"), 0),
    ("vqvae", "reconstruct"): ((f"{NAME}/scan.nii", "--model", "trained", "--out", "→"), 0),
    ("vqvae", "encode"): (("scan.nii", "--model", "trained", "--out", "→ codes"), 0),
    ("vqvae", "decode"): (
        (f"{NAME}/codes/scan.nii.vqc", "--model", "trained", "--out", "→ back"),
        0,
    ),
    ("vqvae", "data", "phantom"): (("set",), 2),
    ("vqvae", "data", "import"): (("volumes", "→ set", "--split", "1,1,1"), 0),
    ("vqvae", "data", "check"): ((f"{NAME}/set",), 0),
}
"""For each command: arguments, and the exit status with them."""


def all_commands() -> Iterator[tuple[str, ...]]:
    for program in ("sweeps", "vqvae"):
        for name, (place, _) in importlib.import_module(f"{program}.cli.main").COMMANDS.items():
            subcommands = getattr(load_command(name, place), "commands", {})
            yield from ((program, name, *([sub] if sub else [])) for sub in subcommands or ("",))


COMMANDS = tuple(all_commands())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a trained model, and a finished sweep whose model is promoted."""
    from tests.fuzz.drive import CLUSTERS

    folder = tmp_path_factory.mktemp("output")
    (folder / NAME).symlink_to(folder)
    material.make(folder)
    (folder / "experiments" / "clusters").mkdir(parents=True)
    for name, text in CLUSTERS.items():
        (folder / "experiments" / "clusters" / f"{name}.toml").write_text(text)
    done = run(folder, ("sweeps", "promote", "tiny", "--force", "because → é"))
    assert done.returncode == 0, done.stderr
    return folder


def environment(**variables: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ}
    fixed = {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    return kept | fixed | {"PYTHONUTF8": "1"} | variables


def run(
    folder: Path, line: tuple[str, ...], **variables: str
) -> subprocess.CompletedProcess[bytes]:
    program, *arguments = line
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )


def read(text: bytes, encoding: str) -> str:
    """The text, which must be valid in the encoding, printable, and no error of Python's own."""
    read = text.decode(encoding.partition(":")[0])
    assert all(c.isprintable() or c == "\n" for c in read), read
    for wrong in ("Traceback", "UnicodeEncodeError", "UnicodeDecodeError", "Exception ignored"):
        assert wrong not in read
    return read


def check(folder: Path, command: tuple[str, ...], encoding: str, **variables: str) -> str:
    """Run a command with its arguments; return its output, which must be as it should be."""
    arguments, status = LINES[command]
    done = run(folder, (*command, *arguments), **variables)
    out, err = read(done.stdout, encoding), read(done.stderr, encoding)
    assert done.returncode == status, err
    assert status == 0 or err.splitlines()[-1].startswith("error: ")
    return out


COPIED = re.compile(r"  (\S*/)?(sweeps|make|vqvae|python\S* -m) |  (https?|file)://|  \S*/\S+$")
"""A line with what a person copies: a command, a link or a path."""
NOT_ALONE = re.compile(r"\S:? ((\S*/)?(sweeps|make) [a-z]+( |$)|\S*python\S* -m |https?://|file:/)")
PRINTED_TO_BE_COPIED = {"run": 3, "watch": 3, "report": 2, "rerun": 1, "promote": 1}
"""The commands that print something to be copied, and how many lines of it at least."""


@pytest.mark.parametrize("columns", ["20", "80"])
@pytest.mark.parametrize("command", [*PRINTED_TO_BE_COPIED, "status", "models", "doctor", "plan"])
def test_what_is_copied_is_whole_on_a_line_of_its_own(
    folder: Path, command: str, columns: str
) -> None:
    wide, narrow = (
        check(folder, ("sweeps", command), "utf-8", COLUMNS=width).splitlines()
        for width in ("1000", columns)
    )
    copied = [line for line in wide if COPIED.match(line)]
    assert len(copied) >= PRINTED_TO_BE_COPIED.get(command, 0)
    assert [line for line in copied if line not in narrow] == []
    assert [line for line in wide if NOT_ALONE.search(line)] == []


def test_every_command_is_run_here() -> None:
    assert set(LINES) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_runs_in_ascii_on_20_columns(folder: Path, command: tuple[str, ...]) -> None:
    check(folder, command, "ascii", PYTHONIOENCODING="ascii", COLUMNS="20")


@pytest.mark.parametrize("encoding", WIDTHS)
@pytest.mark.parametrize("command", [("sweeps", "status"), ("vqvae", "data", "check")])
def test_tables_keep_every_name_and_number(
    folder: Path, command: tuple[str, ...], encoding: str
) -> None:
    columns = str(WIDTHS[encoding])
    known = check(folder, command, "utf-8", PYTHONIOENCODING="utf-8", COLUMNS="1000")
    shown = check(folder, command, encoding, PYTHONIOENCODING=encoding, COLUMNS=columns)
    together = "".join(shown.split())
    assert {w for w in known.split() if w.isascii() and w not in together} == set()
    # Sentences and commands stand below a table, and the terminal wraps them.
    table = takewhile(lambda line: not line.startswith("confirmation "), shown.splitlines())
    assert max(map(len, table)) <= int(columns)


@pytest.mark.parametrize("command", ["doctor", "models", "promote", "status"])
def test_symbols_are_words_in_the_locale_c(folder: Path, command: str) -> None:
    out = check(folder, ("sweeps", command), "ascii", **LOCALE_C)
    symbol = {"doctor": "OK experiment", "models": "+/-", "promote": "-> 000", "status": "* 000"}
    assert symbol[command] in out


@pytest.mark.parametrize("command", [("sweeps",), ("vqvae",), ("vqvae", "data"), *COMMANDS])
def test_help_has_the_same_words_at_any_width(tmp_path: Path, command: tuple[str, ...]) -> None:
    narrow, wide = (
        read(run(tmp_path, (*command, "--help"), PYTHONIOENCODING=e, COLUMNS=columns).stdout, e)
        for e, columns in (("ascii", "20"), ("utf-16", "200"))
    )
    assert "".join(narrow.split()) == "".join(wide.split())
    # Names of commands and of options with their types are not broken.
    texts = [line for line in narrow.splitlines() if not re.match("Usage: | *--|.*<", line)]
    assert [line for line in texts if len(line) > 20 and " " in line.strip()] == []


def test_json_is_json_in_any_encoding(folder: Path) -> None:
    line = ("vqvae", "evaluate", "--model", "trained", "--device", "cpu", "--json")
    for encoding in ("ascii", "utf-16"):
        done = run(folder, line, PYTHONIOENCODING=encoding, COLUMNS="20")
        assert json.loads(read(done.stdout, encoding))["split"] == "validate"


JSON_KEYS = {
    "status": {"sweep", "objective", "direction", "planned", "ended", "best", "value", "trials"},
    "show": {"sweep", "number", "name", "state", "value", "config", "curve", "attempts", "paths"},
    "plan": {"sweep", "planned", "left", "data", "proposals", "epochs", "seconds", "jobs"},
    "models": {"store", "models"},
    "doctor": {"passed", "findings"},
}


@pytest.mark.parametrize("command", JSON_KEYS)
def test_json_is_one_document_with_documented_keys(folder: Path, command: str) -> None:
    arguments, status = LINES["sweeps", command]
    line = ("sweeps", command, *arguments, "--json")
    done = run(folder, line, PYTHONIOENCODING="ascii", COLUMNS="20")
    content = json.loads(read(done.stdout, "ascii"))
    assert done.returncode == status
    assert set(content) >= JSON_KEYS[command]
    part = (ROOT / "docs/scripts.md").read_text().partition(f"## `sweeps {command}")[2]
    documented = set(re.findall(r"`([a-z_]+)`", part.partition("\n## ")[0]))
    assert set(content) <= documented
    assert command != "models" or content["models"][0]["versions"][0]["aliases"] == ["champion"]


WRITERS = (
    ("sweeps", "status", "tiny"),
    ("sweeps", "doctor", "tiny.toml", "--cluster", "here"),
    ("vqvae", "data", "check", "set"),
    ("vqvae", "--help"),
)


def in_a_shell(
    folder: Path, line: tuple[str, ...], rest: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", f'"$@" {rest}', "bash", sys.executable, "-m", *line],
        cwd=folder,
        env=environment(),
        capture_output=True,
        timeout=120,
    )


def errors(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The lines on standard error without those on progress."""
    lines = read(done.stderr, "utf-8").splitlines()
    return [line for line in lines if not line.startswith("reading ")]


@pytest.mark.parametrize("line", WRITERS, ids=" ".join)
def test_a_full_disk_is_one_line(folder: Path, line: tuple[str, ...]) -> None:
    done = in_a_shell(folder, line, "> /dev/full")
    assert errors(done) == ["error: standard output cannot be written: No space left on device"]
    assert done.returncode == 1


@pytest.mark.parametrize("line", WRITERS, ids=" ".join)
def test_a_reader_that_went_away_is_no_error(folder: Path, line: tuple[str, ...]) -> None:
    done = in_a_shell(folder, line, "| true; exit ${PIPESTATUS[0]}")
    assert (errors(done), done.returncode) == ([], 1)


@pytest.mark.parametrize("line", WRITERS, ids=" ".join)
def test_a_closed_output_is_no_error(folder: Path, line: tuple[str, ...]) -> None:
    done = in_a_shell(folder, line, ">&- <&-")
    assert (errors(done), done.returncode) == ([], 0)


@pytest.mark.parametrize("rest", ["2> /dev/full", "2>&-", "2>&1 | true; exit ${PIPESTATUS[0]}"])
def test_an_error_that_cannot_be_printed_still_sets_the_status(tmp_path: Path, rest: str) -> None:
    done = in_a_shell(tmp_path, ("sweeps", "status"), rest)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 2)


def test_a_closed_output_is_not_written_into_the_next_file(tmp_path: Path) -> None:
    program = (
        "import sys; from sweeps.streams import accept_any_text; accept_any_text(); "
        "file = open('next', 'w'); print('→'); print('→', file=sys.stderr); "
        "import subprocess; child = \"open('of a child', 'w'); print('→')\"; "
        "subprocess.run([sys.executable, '-c', child], check=True); "
        "subprocess.run(['echo', 'from a child'], check=True)"
    )
    done = subprocess.run(
        ["bash", "-c", '"$@" >&- 2>&- <&-', "bash", sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
    )
    assert done.returncode == 0
    assert [(tmp_path / name).read_text() for name in ("next", "of a child")] == ["", ""]


@contextlib.contextmanager
def full_or_unread(kind: str) -> Iterator[int]:
    """An output that is full, or whose reader went away."""
    if kind == "full":
        number = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, number = os.pipe()
        os.close(reader)
    yield number
    os.close(number)


@pytest.mark.parametrize("kind", ["full", "unread"])
@pytest.mark.parametrize("command", ["data import", "train"])
def test_progress_that_cannot_be_written_is_not_taken_for_an_error_of_a_file(
    folder: Path, command: str, kind: str
) -> None:
    new, config = f"new {kind}", folder / "new.toml"
    config.write_text(
        f'[data]\nroot = "{folder}/set"\ncache = "{folder}/cache of {new}"\n'
        "[training]\nbatch_size = 2\n"
    )
    arguments = ["data", "import", "volumes", new, "--split", "1,1,1"]
    if command == "train":  # it builds the cache
        arguments = ["train", str(config), "--out", new]
    program = (
        "import vqvae.cli.exit as end; original = end.print_error\n"
        "end.print_error = lambda error: print(type(error).__name__) or original(error)\n"
        f"from vqvae.cli.main import main; main({arguments})"
    )
    with full_or_unread(kind) as errors:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=120,
        )
    error = "OutputError" if kind == "full" else "ReaderGoneError"
    assert (done.stdout.splitlines()[-1:], done.returncode) == ([error], 1)
    assert command == "train" or not (folder / new).exists()


def raise_and_exit(program: str, app: str, broken: str) -> subprocess.CompletedProcess[str]:
    """Run a command that raises, in a process of its own."""
    code = (
        f"import sys, typer; from {program}.cli.exit import run_and_exit\n"
        f"def fail(*_, **__) -> None: {broken}\n"
        f"def command() -> None: {broken}\n"
        "app = typer.Typer(); app.command()(command)\n"
        f"run_and_exit('x', {app}, [])"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
@pytest.mark.parametrize("app", ["fail", "app"])
def test_a_broken_pipe_that_is_no_output_is_an_error(program: str, app: str) -> None:
    done = raise_and_exit(program, app, "raise BrokenPipeError(32, 'Broken pipe')")
    assert done.stderr == "error: BrokenPipeError: [Errno 32] Broken pipe\n"
    assert done.returncode == 1


@pytest.mark.parametrize("kind", ["full", "unread"])
def test_the_end_of_python_itself_adds_nothing(kind: str) -> None:
    program = (
        "import sys; from sweeps.cli.exit import run_and_exit\n"
        "run_and_exit('x', lambda *_, **__: print('no line yet', end=''), [])"
    )
    with full_or_unread(kind) as output:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    line = "error: standard output cannot be written: No space left on device\n"
    assert (done.stderr, done.returncode) == (line if kind == "full" else "", 1)


def test_an_error_of_an_output_can_be_passed_between_processes() -> None:
    passed = pickle.loads(pickle.dumps(OutputError("standard error cannot be written", 28)))
    assert (str(passed), passed.errno) == ("standard error cannot be written", 28)
    assert not isinstance(passed, OSError)


def test_text_that_is_not_utf_8_is_named() -> None:
    for program in ("sweeps", "vqvae"):
        done = raise_and_exit(program, "fail", "'a\\udcff'.encode()")
        advice = "if it is a file name, rename the file"
        assert done.stderr == f"error: 'a\\udcff' cannot be written as UTF-8; {advice}\n"
        assert done.returncode == 2


def test_the_python_lines_of_the_documentation_load_a_trial_and_its_model(folder: Path) -> None:
    text = (ROOT / "docs/reading-results.md").read_text()
    block = next(block for block in text.split("```python\n")[1:] if "load_trial" in block)
    lines = block.partition("```")[0]
    assert len([line for line in lines.splitlines() if line]) == 3
    # The sweep here is of another trainer, whose checkpoints hold no network.
    for read, tried in (
        ('load_trial("quickstart", 8)', 'load_trial("tiny", 0)'),
        ('load("quickstart:8")', 'load("trained")'),
    ):
        assert read in lines
        lines = lines.replace(read, tried)
    program = f"""{lines}
import torch
images, codes = model(torch.rand(1, 1, 32, 32))
print(trial.state, trial.value == trial.curve[trial.best_epoch], tuple(images.shape))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "complete True (1, 1, 32, 32)\n", done.stderr
