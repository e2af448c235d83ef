"""Every command in the documentation runs on a small sweep, or has a reason not to."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documented import (
    NOT_RUN,
    PAGES,
    PAGES_NOT_RUN,
    PROGRAMS,
    ROOT,
    commands,
    reason_not_to_run,
)

pytestmark = pytest.mark.xdist_group("documented commands")  # one process, one small sweep
SMALLER = {
    r"^trials = \d+": "trials = 9",
    r'kind = "successive_halving"': 'kind = "none"',
    r"(test|validate)_patients = \d+": r"\1_patients = 1",
    r"volumes = \d+": "volumes = 1",
    r"slices = \d+": "slices = 4",
    r"height = \d+\nwidth = \d+": "height = 32\nwidth = 32",
    r"^width = \d+\ncode_": "width = 4\nresidual_blocks = 0\ncode_",
    r"^epochs = \d+": "epochs = 2",
    r"^candidates = \d+\nseeds = \d+": 'candidates = 1\nseeds = 2\nfloors."test/ssim" = -1.0\n',
}
"""What makes the quickstart's experiment a matter of seconds."""


SCANS = "data/phantom-quickstart/keras_slices_data"
REPLACED = {
    r"VOLUMES\.\.\.": f"{SCANS}/keras_slices_train",
    r"0007-1a2b3c4d": "$(basename runs/quickstart/trials/0007-*)",
    r"0007-1a --sweep mine": "0007 --sweep quickstart",
    r"^sweeps compare quickstart mine": (  # the page that makes it may not have been run yet
        "test -d runs/mine || { sed -e 's/^name = .*/name = \"mine\"/' "
        "-e 's/^trials = .*/trials = 1/' experiments/quickstart.toml > other.toml; "
        r"sweeps run other.toml; }; touch runs/quickstart/plan.json; \g<0>"
    ),
    r"^make sweep EXPERIMENT=experiments/mine.toml": (
        r"sed -i 's/^trials = .*/trials = 1/' experiments/mine.toml; \g<0>"
    ),
}
"""What stands in a page for names that each reader has other ones for."""

WRITTEN = ("reconstructed", "codes", "decoded", "runs/one")
"""Folders that several pages write."""

STATUS = {"make rollback": 2}
"""Exit statuses that are not 0: there is no champion before the first one."""


def environment(project: Path) -> dict[str, str]:
    programs = str(project / ".venv/bin")
    kept = {"HOME": os.environ.get("HOME", "/"), "PATH": f"{programs}:{os.environ['PATH']}"}
    fixed = {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    return kept | fixed | {"TMPDIR": str(project / "tmp"), "PYTHONUTF8": "1"}


def run(project: Path, command: str) -> None:
    filled = command
    for pattern, replacement in REPLACED.items():
        filled = re.sub(pattern, replacement, filled)
    done = subprocess.run(
        ["bash", "-ec", filled],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    expected = STATUS.get(command, 0)
    assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with an environment, scans, a configuration, and a finished sweep."""
    project = tmp_path_factory.mktemp("project")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / "experiments", project / "experiments")
    (project / "tmp").mkdir()
    make_environment(project / ".venv")
    shrink(project / "experiments/quickstart.toml")
    local = project / "experiments/clusters/local.toml"
    local.write_text("workers = 1\n" + local.read_text())
    run(project, "sweeps run quickstart")
    shutil.copytree(project / SCANS / "keras_slices_test", project / "scans")
    shutil.copy(next(project.glob("runs/quickstart/trials/0006-*/config.toml")), project)
    return project


@pytest.fixture(scope="module")
def done_before() -> set[str]:
    """Commands that have been run: each is run once, however many pages have it."""
    return set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, project: Path, done_before: set[str]) -> None:
    for written in WRITTEN:  # the reader of a page has not followed another page
        shutil.rmtree(project / written, ignore_errors=True)
    os.utime(project / "runs/quickstart/plan.json")  # it is the latest sweep again
    for command in dict.fromkeys(commands(page)):
        if command not in done_before and not reason_not_to_run(command):
            run(project, command)
        done_before.add(command)


def test_every_page_not_run_exists_and_every_pattern_stands_for_a_command() -> None:
    assert {str(page.relative_to(ROOT)) for page in PAGES} >= PAGES_NOT_RUN.keys()
    listed = [command for page in PAGES for command in commands(page)]
    unused = [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, c) for c in listed)]
    assert unused == []


def test_blocks_without_a_language_hold_commands() -> None:
    """A block of anything else needs a language, such as `text`."""
    first = {command.split()[0] for page in PAGES for command in commands(page)}
    assert {Path(word).name for word in first} <= {*PROGRAMS, "for"}


def make_environment(folder: Path) -> None:
    """An environment whose programs are those of this repository."""
    (folder / "bin").mkdir(parents=True)
    for name, words in {"python": "", "sweeps": "-m sweeps", "vqvae": "-m vqvae"}.items():
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        program.chmod(0o755)
    (folder / ".vqvae-sweeps-installed").touch()


def shrink(path: Path) -> None:
    text = path.read_text()
    for pattern, replacement in SMALLER.items():
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    path.write_text(text)
