"""The parts of `make screenshots` that need no browser."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.screenshots.browser import LARGEST, small_png
from benchmarks.screenshots.servers import serving
from benchmarks.screenshots.terminal import COLUMNS, frames_of, page_of

LIVE = """
from rich.console import Console
from rich.live import Live
from rich.text import Text
console = Console()
with Live(console=console, auto_refresh=False) as live:
    for at in range(3):
        shown = Text(f"first {at}\\nwidth {console.width}\\n", style="green")
        live.update(shown, refresh=True)
print("the end <b>")
"""


def test_frames_are_what_a_terminal_shows_one_after_another(tmp_path: Path) -> None:
    environment = os.environ | {"TERM": "xterm-256color"}
    frames = frames_of([sys.executable, "-c", LIVE], tmp_path, environment)
    pages = [page_of(frame, "a command") for frame in frames]
    for at in range(3):
        shown = [page for page in pages if f"first {at}" in page]
        assert shown
        assert all(f"width {COLUMNS}" in page for page in shown)
        assert not [page for page in shown if f"first {at + 1}" in page]
    assert "the end &lt;b&gt;" in pages[-1]
    assert "color: #" in pages[1]  # green


def test_a_command_that_fails_gives_no_screenshot(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        frames_of([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, os.environ)


def test_a_screenshot_that_would_be_large_is_made_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert len(buffer.getvalue()) > LARGEST
    assert len(small_png(buffer.getvalue())) <= LARGEST


def test_a_server_without_a_link_is_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no')"]
    with pytest.raises(RuntimeError, match="printed no link: no"), serving(command, tmp_path, {}):
        pass
