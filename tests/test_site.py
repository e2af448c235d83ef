"""The documentation as a site: no warning, no broken link, nothing loaded from the network."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("site")  # one process, so that the site is built once
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""Attributes whose address a browser loads by itself."""


class Elements(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if values.get(LOADED.get(tag, ""), ""):
            self.loaded.append(values[LOADED[tag]])
        self.loaded += re.findall(r"url\(([^)]+)\)", values.get("style", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Elements]:
    return {page: Elements(page) for page in site.rglob("*.html")}


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    written = {path.stem for path in ROOT.glob("docs/*.md")}
    assert written <= {path.stem for path in site.glob("*.html")}


def test_every_link_and_anchor_resolves(pages: dict[Path, Elements]) -> None:
    broken = []
    for page, elements in pages.items():
        if page.name == "404.html":  # its links are those of a server's top folder
            continue
        for link in elements.links:
            address = urlsplit(link)
            if address.scheme:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (
                address.fragment and unquote(address.fragment) not in anchors
            ):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_no_page_loads_anything_from_the_network(site: Path, pages: dict[Path, Elements]) -> None:
    loaded = {address for elements in pages.values() for address in elements.loaded}
    assert [address for address in loaded if "//" in address.partition("data:")[0]] == []
    for style in site.rglob("*.css"):
        addresses = re.findall(r"(?:url\(|@import\s*)[\"']?([^\"')]+)", style.read_text())
        assert [a for a in addresses if not a.startswith("data:") and "//" in a] == []


def test_what_pages_load_is_in_the_site(pages: dict[Path, Elements]) -> None:
    missing = {
        f"{page.name}: {address}"
        for page, elements in pages.items()
        for address in elements.loaded
        if page.name != "404.html"
        and not address.startswith("data:")
        and not (page.parent / unquote(urlsplit(address).path)).exists()
    }
    assert missing == set()


def test_the_search_works_on_files_and_knows_every_page(site: Path) -> None:
    script = (site / "search/search_index.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("var __index = "))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {page.name for page in site.glob("*.html")} - {"404.html"} <= found
    assert not any(location.startswith("source/") for location in found)
