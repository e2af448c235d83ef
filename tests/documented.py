"""The commands that the documentation shows, and those of them that cannot run in a test."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ("make", "sweeps", "vqvae", "mlflow", "python", "cp", "sed", "mkdir")
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])

PAGES_NOT_RUN = {
    "docs/commands.md": "made from the commands themselves (tests/test_reference.py)",
    "docs/rangpur.md": "run on a real SLURM by tests/slurm/test_rangpur.py",
    "docs/your-trainer.md": "typed and run by tests/test_tutorial.py",
    "docs/security.md": "needs nginx and a server with passwords; the page says how it was tried",
}
"""Pages whose commands are not run here, each with the reason."""

NOT_RUN = {
    r"make test": "these are the tests",
    r"make (test-faults|test-slurm-faults|bench|gpu-check|docs)": (
        "minutes, or needs a GPU; docs: tests/test_site.py"
    ),
    r"sweeps dashboard": "serves until it is ended (tests/sweeps/search/test_dashboard.py)",
    r"make ui": "serves until it is ended (tests/sweeps/tracking/test_ui.py starts the server)",
    r"mlflow models serve .*": "serves until it is ended",
    r"python -m benchmarks\..*": "minutes",
    r"python -m pip install .*": "changes the environment that the tests run in",
    r"make sweep EXPERIMENT=experiments/(real_mri|first_report_short|quickstart_longer)\.toml.*": (
        "minutes; some on scans that are not here"
    ),
    r"make promote (TRIAL=0006-d40239ba|SWEEP=real_mri)": "trials of a sweep that is not here",
    r"for i in .*": "the same command seven times, for its time",
    r"(\.venv/bin/)?(sweeps|vqvae) .*(real_mri|PROSTATE_3T|BRAIN_MS).*": "scans that are not here",
}
"""Patterns of commands that are not run, each with the reason."""


def commands(page: Path) -> Iterator[str]:
    """The commands of a page, in their order, without comments."""
    name = str(page.relative_to(ROOT))
    if name in PAGES_NOT_RUN:
        return
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(
        r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        if language not in {"", "sh"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if command := re.sub(r"(^|\s)#\s.*", "", line).strip():
                yield command
    for line in text.splitlines():  # a table of questions, each with its command
        if cells := re.match(r"\| \d+ \|[^|]+\|([^|]+)\|", line):
            found = re.findall(r"`([^`]+)`", cells[1])
            yield from (each for each in found if each.split()[0] in PROGRAMS)


def reason_not_to_run(command: str) -> str | None:
    """Why a command is not run here; None if it is."""
    found = (reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command))
    return next(found, None)
