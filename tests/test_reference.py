"""The reference pages say what the classes and the commands say."""

import re
from pathlib import Path

import pytest

from docs.reference import FOLDER, pages
from sweeps.config.cluster import read_cluster
from sweeps.config.space import Range
from tests.test_output import COMMANDS

ROOT = Path(__file__).parents[1]
HIDDEN = {("sweeps", "submit"), ("sweeps", "work"), ("sweeps", "publish")}


@pytest.mark.parametrize("page", pages())
def test_a_page_is_up_to_date(page: str) -> None:
    advice = "write it again: python -m docs.reference"
    assert (FOLDER / page).read_text(encoding="utf-8") == pages()[page], advice


def test_every_command_has_a_section() -> None:
    sections = set(re.findall(r"^### (.+)$", pages()["commands.md"], re.MULTILINE))
    assert sections == {" ".join(command) for command in set(COMMANDS) - HIDDEN}


def test_every_key_of_the_cluster_files_is_in_the_reference() -> None:
    keys = set(re.findall(r"^\| `(\w+)` \|", pages()["reference-cluster.md"], re.MULTILINE))
    for path in ROOT.glob("experiments/clusters/*.toml"):
        assert read_cluster(path.stem, path.parent).model_fields_set - {"detect"} <= keys


def test_a_range_is_described_with_its_default() -> None:
    row = next(
        line
        for line in pages()["reference-experiment.md"].splitlines()
        if line.startswith("| `log` |")
    )
    assert "| `false` |" in row
    assert Range.model_fields["log"].description in row
