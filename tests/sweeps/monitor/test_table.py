"""The table of a sweep on terminals of different widths."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.config.experiment import Objective
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.monitor.table import SweepTable
from sweeps.storage.progress import Progress
from sweeps.storage.sweep_totals import Totals
from sweeps.storage.trial_record import State

VALUES = {"optimizer": "adam", "batch_size": 16, "codebook_size": 256, "learning_rate": 0.000858}


def a_trial(number: int, *, left: float | None, best: float, is_best: bool = False) -> TrialStatus:
    name, state = f"{number:04d}-396ce225", "complete" if left is None else "running"
    return TrialStatus(name, state, 9, 12, best, VALUES, 345.0, left, "", is_best)


def a_status(*trials: TrialStatus) -> SweepStatus:
    return SweepStatus(
        *("name", Objective(metric="val/ssim"), Progress(12, len(trials), len(trials))),
        list(trials),
        *(Totals({State.COMPLETE: len(trials)}, None, None, 1.0, 0.0), False, None, ()),
    )


def shown(width: int, *trials: TrialStatus, height: int | None = None) -> list[str]:
    status, out = a_status(*trials), io.StringIO()
    Console(file=out, width=width).print(SweepTable(status, height))
    return out.getvalue().splitlines()


RUNNING = a_trial(3, left=5400.0, best=0.5)
ENDED = a_trial(2, left=None, best=0.6959, is_best=True)


@pytest.mark.parametrize("width", [80, 90, 100, 120, 200])
def test_nothing_is_cut_on_terminals_of_usual_widths(width: int) -> None:
    text = "\n".join(shown(width, ENDED, RUNNING))
    assert "…" not in text
    for word in ("★ 0002", "0003", "0.6959", "adam", "16", "256", "0.000858", "1.5 h"):
        assert word in text


def test_a_wide_terminal_shows_full_trial_names_and_the_speed() -> None:
    wide, narrow = "\n".join(shown(120, RUNNING)), "\n".join(shown(80, RUNNING))
    assert "0003-396ce225" in wide
    assert "345" in wide
    assert "0003-396ce225" not in narrow
    assert "345" not in narrow


def test_a_view_that_can_be_closed_says_so_below_its_totals() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(SweepTable(a_status(ENDED), hint="Ctrl-C closes it"))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines[-2].startswith("1 of 12 trials, 1 complete, ")
    assert lines[-1] == "Ctrl-C closes it"


def test_an_empty_column_is_omitted() -> None:
    assert "left" in "\n".join(shown(120, ENDED, RUNNING))
    assert "left" not in "\n".join(shown(120, ENDED))


@pytest.mark.parametrize("width", [20, 33, 60])
def test_a_terminal_too_narrow_for_any_layout_shows_a_line_for_each_cell(width: int) -> None:
    lines = shown(width, ENDED, RUNNING)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    for part in ("trial: ★ 0002-396ce225", "trial: 0003-396ce225", "state: running", "time left:"):
        assert part in text
    for part in ("0.6959", "0.5000", "learning rate: 0.000858", "batch size: 16"):
        assert part in text


def test_on_a_narrow_terminal_that_is_watched_the_lines_stay_few() -> None:
    trials = [a_trial(number, left=5400.0, best=0.5) for number in range(20)]
    assert len(shown(20, *trials, height=24)) < 30


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("height", [24, 30, 50])
def test_the_watched_view_fits_the_screen(width: int, height: int) -> None:
    trials = [a_trial(number, left=5400.0, best=0.5) for number in range(100)]
    lines = shown(width, *trials, height=height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert any(line.split()[:2] == ["0000", "running"] for line in lines)  # a row is a line


def coloured(**environment: str) -> str:
    states = ("running", "waiting", "stopped", "complete", "pruned", "diverged", "failed")
    trials = [replace(ENDED, name=f"{n:04d}-0", state=state) for n, state in enumerate(states)]
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, _environ={"TERM": "xterm-256color", **environment}
    )
    console.print(SweepTable(a_status(*trials)))
    return out.getvalue()


def test_colours_can_be_read_on_light_and_dark_terminals_and_can_be_turned_off() -> None:
    codes = {
        part for found in re.findall(r"\x1b\[([\d;]*)m", coloured()) for part in found.split(";")
    }
    assert codes == {"0", "1", "31", "32", "35", "36"}  # bold, red, green, magenta, cyan
    plain = coloured(NO_COLOR="1")
    assert not re.search(r"\x1b\[(?:\d+;)*3\d", plain)
    assert "\x1b[" not in coloured(TERM="dumb")


def test_a_sweep_without_trials_shows_its_totals() -> None:
    assert any("0 of 12 trials" in line for line in shown(80))


def test_of_many_trials_the_running_the_best_and_the_latest_are_shown() -> None:
    ended = [a_trial(n, left=None, best=0.1, is_best=n == 5) for n in range(50)]
    text = "\n".join(shown(80, *ended, a_trial(50, left=10.0, best=0.1), height=12))
    assert [name for name in ("0005", "0048", "0049", "0050", "0046") if name in text] == [
        *("0005", "0048", "0049", "0050")
    ]
    assert "… and 46 more: 46 complete" in text
