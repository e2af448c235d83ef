"""Commands that serve pages until they are ended."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

_MOST_LINES = 50
_SECONDS_TO_END = 90
"""gunicorn waits for open connections first, for 30 seconds."""


@contextmanager
def serving(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[list[str]]:
    """Run such a command; yield the links that it printed before it said how to stop it.

    Raises:
        RuntimeError: it ended, or printed no link.
    """
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    lines: list[str] = []
    try:
        for line in server.stdout:
            lines.append(line)
            if "Ctrl-C" in line or len(lines) == _MOST_LINES:
                break
        links = [word for line in lines for word in line.split() if word.startswith("http")]
        if not links:
            raise RuntimeError(f"{' '.join(command)} printed no link: {''.join(lines)}")
        _wait_for_answer(links[0])
        yield links
    finally:
        if server.poll() is None:
            os.kill(server.pid, signal.SIGTERM)
        server.wait(_SECONDS_TO_END)
        server.stdout.close()


def _wait_for_answer(url: str) -> None:
    """Wait until the server listens, for a minute at most."""
    for _ in range(300):
        with suppress(OSError), urlopen(url, timeout=5):
            return
        time.sleep(0.2)
