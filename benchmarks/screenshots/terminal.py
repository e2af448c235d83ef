"""What a command shows on a terminal: it runs in a real one, and a frame of it becomes a page."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

COLUMNS, ROWS = 80, 40
_NEW_FRAME = re.compile(r"\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*|\x1b\[1A(?:\x1b\[2K\x1b\[1A)*\x1b\[2K")
"""What rich writes to remove a frame before the next one."""
_OTHER_CONTROL = re.compile(r"\x1b\[\?25[hl]|\r")
_PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>
body {{ margin: 0; background: white }}
#terminal {{ display: inline-block; background: {background}; color: {foreground};
  border-radius: 8px; padding: 14px 18px }}
pre {{ margin: 0; font: 16px/1.3 "DejaVu Sans Mono", monospace }}
{stylesheet}
</style></head><body><div id="terminal"><pre><b>$ COMMAND</b>
{code}</pre></div></body></html>
"""


def frames_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Run a command in a terminal to its end; return the frames that it showed.

    Raises:
        CalledProcessError: it failed.
    """
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=side, stdout=side, stderr=side
    )
    os.close(side)
    written = bytearray()
    while chunk := _read(main):
        written += chunk
    os.close(main)
    text = written.decode("utf-8", "replace")
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, list(command), output=text)
    return [_OTHER_CONTROL.sub("", frame) for frame in _NEW_FRAME.split(text)]


def page_of(frame: str, command: str) -> str:
    """Return a frame as an HTML page with one element, `#terminal`."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(frame.strip("\n")))
    page = console.export_html(theme=DIMMED_MONOKAI, code_format=_PAGE)
    return page.replace("COMMAND", escape(command), 1)


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the command has closed its terminal
        return b""
