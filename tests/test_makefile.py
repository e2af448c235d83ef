"""The values of variables on `make`'s command line reach the commands whole."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = ["my exp.toml", "it's.toml", 'a"b.toml', "c#d/e.toml", "a$b.toml", "a?b*.toml", "a;touch x"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an environment whose `python` prints its arguments."""
    folder = tmp_path / "it's a project"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / ".venv/bin/python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    (folder / ".venv/.vqvae-sweeps-installed").touch()
    return folder


def make(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run(
        ["make", *words], cwd=project, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("value", ODD)
def test_a_value_is_one_argument(value: str, project: Path) -> None:
    ended = make(project, "sweep", f"EXPERIMENT={value}", f"CLUSTER={value}")
    words = ["-m", "sweeps", "run", value, "--cluster", value]
    assert ended.stdout.splitlines() == words, ended.stderr
    ended = make(project, "promote", f"SWEEP={value}", f"TRIAL={value}")
    assert ended.stdout.splitlines() == ["-m", "sweeps", "promote", value, "--trial", value]
    assert not (project / "x").exists()


def test_without_values_there_are_no_arguments(project: Path) -> None:
    assert make(project, "sweep").stdout.split() == ["-m", "sweeps", "run"]
    assert make(project, "promote").stdout.split() == ["-m", "sweeps", "promote"]


def test_an_environment_with_a_blank_in_its_path_is_refused(project: Path) -> None:
    ended = make(project, "sweep", "VENV=my env")
    assert ended.returncode == 2
    assert "VENV='my env': write the path of one folder, without blanks" in ended.stderr


PIP = """#!/bin/sh
echo "$@" >> asked
echo "a line of pip"
sleep 2
if test -e broken; then echo "no matching distribution" >&2; exit 7; fi
"""


def without_stamp(project: Path) -> Path:
    """The environment before it is filled; pip, all that reaches the network, is a script."""
    (project / ".venv/.vqvae-sweeps-installed").unlink()
    (project / ".venv/bin/python").write_text(PIP)
    return project


def test_installing_prints_a_line_a_step_and_keeps_the_log(project: Path) -> None:
    ended = make(without_stamp(project), "-j", "2", "install")
    assert ended.returncode == 0, ended.stderr
    assert [line[:5] for line in ended.stdout.splitlines()] == ["[1/3]", "[2/3]", "[3/3]"]
    assert (project / ".venv/install.log").read_text() == "a line of pip\n"
    assert "--constraint constraints.txt --editable .[dev]" in (project / "asked").read_text()
    make(project, "install")
    assert len((project / "asked").read_text().splitlines()) == 1
    (project / "constraints.txt").write_text("torch==99\n")
    os.utime(project / "constraints.txt", (2e9, 2e9))  # other versions: brought up to date
    make(project, "install")
    assert len((project / "asked").read_text().splitlines()) == 2


def test_an_installation_that_fails_shows_its_last_lines_and_is_tried_again(project: Path) -> None:
    (without_stamp(project) / "broken").touch()
    ended = make(project, "sweep")
    assert ended.returncode == 2
    assert "no matching distribution\nerror: pip failed with status 7" in ended.stdout
    assert ".venv/install.log" in ended.stdout.splitlines()[-1]
    (project / "broken").unlink()
    assert "[3/3]" in make(project, "install").stdout


def test_an_environment_of_a_person_keeps_its_versions(project: Path) -> None:
    (without_stamp(project) / ".venv").rename(project / "conda")
    assert "[1/3] environment: conda" in make(project, "install", "VENV=conda").stdout
    assert "--constraint" not in (project / "asked").read_text()
    assert (project / "conda/install.log").exists()


def test_an_interrupted_installation_ends_pip_and_continues(project: Path) -> None:
    python = without_stamp(project) / ".venv/bin/python"
    python.write_text("#!/bin/sh\necho $$ > started\nexec sleep 300\n")
    process = subprocess.Popen(
        ["make", "install"],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (started := project / "started").exists() or not started.read_text().strip():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert process.wait(timeout=60) != 0
    deadline = time.monotonic() + 60
    while runs(int(started.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    python.write_text(PIP)
    assert make(project, "install").returncode == 0


def runs(process: int) -> bool:
    """Return whether a process runs: one that has ended may still be listed."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
