"""The documentation is true: its links resolve, its tree is the tree, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert broken == []


def tree_of(text: str) -> set[str]:
    """The paths that the tree in README's last block lists."""
    block = text.rpartition("## Files")[2].split("```")[1]
    folders: list[str] = []
    found = set()
    for line in block.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.match(r" *(\S+(?:  \S+)*)", line).group(1).split("  ")
        folders[depth:] = []
        for name in names:
            found.add("".join([*folders, name]))
        if names[0].endswith("/"):
            folders.append(names[0])
    return found


def test_the_file_tree_is_the_tree() -> None:
    listed = tree_of((ROOT / "README.md").read_text())
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [path for path in listed if not (ROOT / path).exists()] == []
    sources = {
        path
        for path in tracked
        if re.match(r"(sweeps|vqvae|experiments)/", path) and not Path(path).name.startswith("__")
    }
    assert sources - listed == set()


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
def test_every_command_that_is_named_exists(program: str) -> None:
    helps = {}
    for page in PAGES:
        for command in re.findall(
            rf"(?:`|^){program} ([a-z]+(?: (?:phantom|import|check))?)",
            page.read_text(),
            re.MULTILINE,
        ):
            if command not in helps:
                call = [sys.executable, "-m", program, *command.split(), "--help"]
                helps[command] = subprocess.run(call, cwd=ROOT, capture_output=True).returncode
    assert set(helps.values()) == {0}, helps


def test_every_experiment_and_cluster_that_ships_is_valid() -> None:
    from sweeps.cluster import read_cluster
    from sweeps.experiment import read_experiment

    for path in sorted(ROOT.glob("experiments/*.toml")):
        assert read_experiment(path).experiment.name == path.stem
    for path in sorted(ROOT.glob("experiments/clusters/*.toml")):
        read_cluster(path.stem, path.parent)
