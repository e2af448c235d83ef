"""Names in a table: shortened to its width, and still different from each other."""

from collections.abc import Callable, Sequence

from rich.cells import cell_len

_ELLIPSIS = "…"


def shorten_names(names: Sequence[str], width: int) -> list[str]:
    """The names, shortened where they are wider than `width` columns of a terminal.

    The middle is left out. If two names would then be alike, their starts are left out, or else
    their ends. If two would still be alike, all names stay whole.
    """
    for shortened in (_without_middle, _without_start, _without_end):
        found = [name if cell_len(name) <= width else shortened(name, width) for name in names]
        if len(set(found)) == len(set(names)):
            return found
    return list(names)


def _without_middle(name: str, width: int) -> str:
    front = (width - 1) // 2
    return _front(name, front) + _ELLIPSIS + _back(name, width - 1 - front)


def _without_start(name: str, width: int) -> str:
    return _ELLIPSIS + _back(name, width - 1)


def _without_end(name: str, width: int) -> str:
    return _front(name, width - 1) + _ELLIPSIS


def _front(name: str, width: int) -> str:
    return name[: _fitting(width, lambda length: name[:length])]


def _back(name: str, width: int) -> str:
    length = _fitting(width, lambda length: name[-length:])
    return name[-length:] if length else ""


def _fitting(width: int, part: Callable[[int], str]) -> int:
    """The length of the longest part that is at most `width` columns wide."""
    length = max(0, width)  # no character is narrower than one column, combining ones excepted
    while length and cell_len(part(length)) > width:
        length -= 1
    return length
