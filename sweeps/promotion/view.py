"""What a person sees of a registered model: its versions, their scores, and why they are there."""

import time
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeps.promotion.entities import Version
from sweeps.text import printable


def versions_table(name: str, versions: Sequence[Version]) -> RenderableType:
    """Every version of a model, the latest first, and below them why each was let in."""
    grid = Table(box=box.SIMPLE_HEAD, title=Text(f"model {name}"), title_justify="left")
    metric = next((v.tags["sweep.metric"] for v in versions if "sweep.metric" in v.tags), "test")
    for heading in ("", "is", metric, "new seeds", "from", "registered"):
        grid.add_column(Text(printable(heading)), no_wrap=True)
    for version in reversed(versions):
        grid.add_row(*(Text(printable(cell)) for cell in _cells(version)))
    reasons = [f"{version.number}: {_why(version)}" for version in reversed(versions)]
    return Group(grid, Text(printable("\n".join(reasons))))


def _cells(version: Version) -> tuple[str, ...]:
    tags = version.tags
    spread = f" ± {_short(tags['sweep.spread'])}" if "sweep.spread" in tags else ""
    return (
        str(version.number),
        ", ".join(sorted(version.aliases)),
        _short(tags.get("sweep.test", "")),
        _short(tags.get("sweep.mean", "")) + spread,
        "\n".join(tags[key] for key in ("sweep.name", "sweep.trial") if key in tags),
        time.strftime("%Y-%m-%d\n%H:%M UTC", time.gmtime(version.created / 1000)),
    )


def _why(version: Version) -> str:
    tags = version.tags
    back = f"; rolled back {tags['sweep.rolled_back']}" if "sweep.rolled_back" in tags else ""
    return tags.get("sweep.decision", "not by a promotion") + back


def _short(figure: str) -> str:
    """A figure that a tag holds, to four digits."""
    try:
        return f"{float(figure):.4f}" if figure else ""
    except ValueError:  # somebody wrote another thing there
        return figure
