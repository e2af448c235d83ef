"""Tables that can be read at any width and in any encoding.

`sweeps/tables.py` and `vqvae/tables.py` are the same, but for the package that they import
(`tests/test_twins.py`).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeps.streams import encodable
from sweeps.text import printable

_UNBOUNDED = 10_000
"""A width in characters that no terminal has."""


def output_console() -> Console:
    """A console on standard output, as wide as the terminal; in a log it breaks no line."""
    console = Console()
    width = os.environ.get("COLUMNS", "")
    is_bounded = console.is_terminal or (width.isdigit() and int(width) > 0)
    return console if is_bounded else Console(width=_UNBOUNDED)


@dataclass(frozen=True)
class Column:
    """A column of a table; a heading may have several lines, because it is wider than its cells."""

    heading: str
    cells: Sequence[str | Text]
    justify: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class FittingTable:
    """A table with the most columns that fit the width; if none do, a line for each cell.

    Nothing is cut: a name or a number without its end looks like another one.

    Attributes:
        title: the line above the table.
        selections: columns to show, the selection that says most first.
        caption: the text below the table.
        emphasized: numbers of the rows that are shown bold.
        totals: how many of the last rows are totals or means of the others.
    """

    title: str
    selections: Sequence[Sequence[Column]]
    caption: str = ""
    emphasized: frozenset[int] = field(default_factory=frozenset)
    totals: int = 0

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """Yield the table, or the lines of its cells."""
        if self.title:  # not the grid's own title, which is broken at the width of the columns
            yield _plain(self.title, options.encoding)
        grid = self.grid(console, options)
        if grid is not None:
            yield grid
        else:
            yield from self._lines(options.encoding)
        if self.caption:
            yield _plain(self.caption, options.encoding)

    def grid(self, console: Console, options: ConsoleOptions) -> Table | None:
        """The table with the most columns that fits; None if none does."""
        unbounded = options.update(max_width=_UNBOUNDED)
        for columns in self.selections:
            widest = [_widest(column, options.encoding) for column in columns]
            for gap in (3, 1):
                grid = self._grid(widest, gap, options.encoding)
                if Measurement.get(console, unbounded, grid).maximum <= options.max_width:
                    return self._grid(columns, gap, options.encoding)
        return None

    def _grid(self, columns: Sequence[Column], gap: int, encoding: str) -> Table:
        grid = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, gap, 0, 0),
            pad_edge=False,
        )
        for column in columns:
            heading = _plain(column.heading, encoding)
            grid.add_column(heading, justify=column.justify, no_wrap=True)
        rows = list(zip(*(column.cells for column in columns), strict=True))
        for at, cells in enumerate(rows):
            if self.totals and at == len(rows) - self.totals:
                grid.add_section()
            style = "bold" if at in self.emphasized else None
            grid.add_row(*(_plain(cell, encoding) for cell in cells), style=style)
        return grid

    def _lines(self, encoding: str) -> Iterator[RenderableType]:
        """Yield each cell as `heading: cell`, a row's cells below its first one."""
        columns = self.selections[0]
        for at in range(len(columns[0].cells)):
            for column in columns:
                cell = _in_one_line(column.cells[at])
                heading = " ".join(column.heading.split())
                if cell.plain:
                    line = _plain(Text.assemble(f"{heading}: ", cell), encoding)
                    yield line if column is columns[0] else Padding.indent(line, 2)


def _widest(column: Column, encoding: str) -> Column:
    """The column with its widest cell alone: as wide, and much quicker to measure."""
    widest = max(column.cells, key=lambda cell: _plain(cell, encoding).cell_len, default=None)
    return replace(column, cells=[] if widest is None else [widest])


def _plain(text: str | Text, encoding: str) -> Text:
    """`text` without markup and escape sequences, as wide as it is in that encoding."""
    if isinstance(text, str):
        return Text(encodable(printable(text), encoding))
    result = text.copy()
    result.plain = encodable(printable(text.plain), encoding)
    return result


def _in_one_line(cell: str | Text) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    text.plain = ", ".join(line.strip() for line in text.plain.splitlines())
    return text
