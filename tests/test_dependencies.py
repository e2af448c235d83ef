"""What is installed is what was chosen: exact versions, of everything that is pulled in."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OURS = Path(sys.prefix).name == ".venv"


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in found}


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(r) for r in (*project["dependencies"], *project["optional-dependencies"]["dev"])
    ]


def closure() -> set[str]:
    """The names of everything installed that our requirements pull in, here."""
    seen: set[str] = set()
    left = [(r.name, extra) for r in asked() for extra in ("", *r.extras)]
    while left:
        name, extra = left.pop()
        key = canonicalize_name(name)
        if f"{key}[{extra}]" in seen:
            continue
        seen.add(f"{key}[{extra}]")
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # an extra of somebody's that is not asked for here
        for text in requires:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                left += [(needed.name, e) for e in ("", *needed.extras)]
    return {entry.partition("[")[0] for entry in seen}


def test_every_line_pins_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][\w.]*", line)]
    assert wrong == []


def test_what_is_pinned_is_what_is_asked_for() -> None:
    chosen = pins()
    for requirement in asked():
        version = chosen[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.skipif(not OURS, reason="an environment that was there keeps its own versions")
def test_nothing_that_is_pulled_in_is_left_to_chance() -> None:
    # The parts of torch's build for a GPU are pinned by torch itself.
    loose = {
        n for n in closure() - pins().keys() if not n.startswith(("nvidia-", "triton", "cuda-"))
    }
    assert loose == set()


@pytest.mark.skipif(not OURS, reason="an environment that was there keeps its own versions")
def test_what_is_installed_is_what_is_pinned() -> None:
    other = {}
    for name, version in pins().items():
        try:
            found = Version(distribution(name).version).public  # without +cpu and the like
        except PackageNotFoundError:
            found = "not installed"
        if found != version:
            other[name] = found
    assert other == {}
