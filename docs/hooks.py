"""What the site adds to mkdocs: pages of the files outside `docs/` that a page links to.

On a Git host a link to `../sweeps/trainer.py` shows the file. The site is read without a network,
so it has a page for each file that is linked, in `source/`.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[#)])")
HIDDEN_FROM_SEARCH = "---\nsearch:\n  exclude: true\n---\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave pages that do not exist out of the navigation."""
    config.nav = [_existing(entry) for entry in config.nav or []]
    return config


def _existing(entry: Any) -> Any:
    (title, content), *_ = entry.items()
    if isinstance(content, str):
        return entry
    pages = [
        page for page in content if all((ROOT / "docs" / path).exists() for path in page.values())
    ]
    return {title: pages}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside `docs/` that a page links to, and for those it links to."""
    left = {f"docs/{file.src_uri}" for file in files.documentation_pages()}
    seen: set[str] = set()
    while left:
        path = left.pop()
        seen.add(path)
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), content=_content(path)))
        left |= set(linked(path)) - seen
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links to files of the repository to their pages."""
    here = repository_path(page.file.src_uri)
    if not here.endswith(".md"):
        return markdown
    start = posixpath.dirname(page.file.src_uri)

    def target(link: re.Match[str]) -> str:
        path = resolved(here, link[1])
        return posixpath.relpath(site_path(path), start) if (ROOT / path).is_file() else link[1]

    return LINK.sub(target, markdown)


def linked(path: str) -> Iterator[str]:
    """The files of the repository that a Markdown file links to."""
    if path.endswith(".md"):
        text = (ROOT / path).read_text(encoding="utf-8")
        targets = (resolved(path, link[1]) for link in LINK.finditer(text))
        yield from (target for target in targets if (ROOT / target).is_file())


def resolved(path: str, link: str) -> str:
    """The path in the repository that a link in the file `path` names."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def site_path(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def repository_path(uri: str) -> str:
    """The file of the repository that a page of the site was made from."""
    if not uri.startswith("source/"):
        return f"docs/{uri}"
    path = uri.removeprefix("source/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def _content(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return HIDDEN_FROM_SEARCH + text
    return f"{HIDDEN_FROM_SEARCH}# {path}\n\n````{Path(path).suffix[1:]}\n{text}````\n"
