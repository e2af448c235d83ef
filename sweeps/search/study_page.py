"""The page of a study's plots: one HTML file that needs nothing else, not even a network."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from sweeps.filesystem import atomic

_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 1em auto; max-width: 1100px; }}</style>
</head><body><h1>{title}</h1>
<p>{note}</p>
"""


def write_page(file: Path, title: str, note: str, figures: Mapping[str, Any]) -> None:
    """Write a page with the plots, one below the other, and one copy of plotly's code.

    Args:
        file: the page.
        title: its title.
        note: a sentence below the title.
        figures: plotly's figures, by their titles.
    """
    parts = [_HEAD.format(title=escape(title), note=escape(note))]
    for at, (name, figure) in enumerate(figures.items()):
        figure.update_layout(title=None, width=None, height=max(figure.layout.height or 0, 450))
        # The first one brings plotly's code, some five megabytes.
        plot = figure.to_html(full_html=False, include_plotlyjs=at == 0, div_id=f"plot-{at}")
        parts.append(f"<h2>{escape(name)}</h2>\n{plot}\n")
    atomic.write(file, "".join(parts) + "</body></html>\n")
