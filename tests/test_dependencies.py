"""The installed packages, with all their dependencies, have exactly the pinned versions."""

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


def required() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(r) for r in (*project["dependencies"], *project["optional-dependencies"]["dev"])
    ]


def closure() -> set[str]:
    """The names of our requirements and of all their installed dependencies."""
    seen: set[str] = set()
    left = [(r.name, extra) for r in required() for extra in ("", *r.extras)]
    while left:
        name, extra = left.pop()
        key = canonicalize_name(name)
        if f"{key}[{extra}]" in seen:
            continue
        seen.add(f"{key}[{extra}]")
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # a dependency of an extra that is not installed
        for text in requires:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                left += [(needed.name, e) for e in ("", *needed.extras)]
    return {entry.partition("[")[0] for entry in seen}


def test_every_line_pins_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][\w.]*", line)]
    assert wrong == []


def test_the_pinned_versions_satisfy_the_requirements() -> None:
    pinned = pins()
    for requirement in required():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.skipif(not OURS, reason="only the project's own .venv has the pinned versions")
def test_every_dependency_is_pinned() -> None:
    # torch itself pins the packages of its GPU build.
    unpinned = {
        n for n in closure() - pins().keys() if not n.startswith(("nvidia-", "triton", "cuda-"))
    }
    assert unpinned == set()


@pytest.mark.skipif(not OURS, reason="only the project's own .venv has the pinned versions")
def test_the_installed_versions_are_the_pinned_ones() -> None:
    different = {}
    for name, version in pins().items():
        try:
            found = Version(distribution(name).version).public  # without a build such as +cpu
        except PackageNotFoundError:
            found = "not installed"
        if found != version:
            different[name] = found
    assert different == {}
