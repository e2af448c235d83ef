"""The documentation is correct: links resolve, the tree of folders is right, commands exist."""

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


def test_every_test_that_the_documentation_names_exists() -> None:
    named = set()
    for page in PAGES:
        for link, names in re.findall(r"\]\(\.\./(tests/\S+\.py)\): ([^;|]+)", page.read_text()):
            named |= {(link, name) for name in re.findall(r"`(test_\w+)`", names)}
    missing = [pair for pair in named if f"def {pair[1]}(" not in (ROOT / pair[0]).read_text()]
    assert named
    assert missing == []


def folders_listed(text: str) -> set[str]:
    """The folders in the tree of README's section "Folders"."""
    block = text.rpartition("## Folders")[2].split("```")[1].removeprefix("text")
    above: list[str] = []
    found = set()
    for line in block.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [line.split()[0].rstrip("/")]
        found.add("/".join(above))
    return found


def test_the_tree_in_the_readme_lists_all_folders() -> None:
    listed = folders_listed((ROOT / "README.md").read_text())
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    folders = {
        str(folder)
        for path in tracked
        for folder in Path(path).parents
        if folder != Path() and not str(folder).startswith((".ci", "tests/"))
    }
    assert listed == folders


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
def test_every_command_in_the_documentation_exists(program: str) -> None:
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


def test_every_experiment_and_cluster_file_of_the_repository_is_valid() -> None:
    from sweeps.config.cluster import read_cluster
    from sweeps.config.resolve import read_experiment

    for path in sorted(ROOT.glob("experiments/*.toml")):
        assert read_experiment(path).experiment.name == path.stem
    for path in sorted(ROOT.glob("experiments/clusters/*.toml")):
        read_cluster(path.stem, path.parent)
