"""A figure of the report: what Plotly draws, and the same numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B58900", "#56B4E9")
"""Colours that are told apart with any kind of colour vision (Okabe and Ito 2008), the yellow one
darkened so that it is seen on white."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
"""Shapes that go with the colours, so that no figure is read by its colours alone."""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        key: its name in files and in the page.
        title: its heading.
        note: one or two sentences on how to read it.
        traces: Plotly's traces.
        layout: Plotly's layout, without colours, which depend on the reader's theme.
        columns: the names of the table's columns.
        rows: the table's rows: the numbers that the figure shows.
    """

    key: str
    title: str
    note: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def colour_and_symbol(at: int) -> tuple[str, str]:
    """Return the colour and the shape of the group with this position."""
    return COLOURS[at % len(COLOURS)], SYMBOLS[at % len(SYMBOLS)]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": title}, "automargin": True, **more}
