"""What a person sees of a registered model: its versions, their scores, and why they are there."""

import time
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sweeps.promotion.entry import Version


def history(name: str, versions: Sequence[Version]) -> Table:
    """Every version of a model, the latest first."""
    grid = Table(box=box.SIMPLE_HEAD, title=f"model {name}", title_justify="left")
    metric = next((v.tags["sweep.metric"] for v in versions if "sweep.metric" in v.tags), "test")
    for heading in ("version", "is", metric, "validation, new seeds", "from", "registered", "why"):
        grid.add_column(heading, justify="right" if heading == "version" else "left")
    for version in reversed(versions):
        grid.add_row(*(Text(cell) for cell in _cells(version)))
    return grid


def _cells(version: Version) -> tuple[str, ...]:
    tags = version.tags
    rolled_back = (
        f"; rolled back {tags['sweep.rolled_back']}" if "sweep.rolled_back" in tags else ""
    )
    mean = f"{tags['sweep.mean']} ± {tags['sweep.spread']}" if "sweep.mean" in tags else ""
    return (
        str(version.number),
        ", ".join(sorted(version.aliases)),
        tags.get("sweep.test", ""),
        mean,
        "/".join(tags[key] for key in ("sweep.name", "sweep.trial") if key in tags),
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(version.created / 1000)),
        tags.get("sweep.decision", "not by a promotion") + rolled_back,
    )
