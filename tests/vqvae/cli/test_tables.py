import math
import re
from pathlib import Path

import pytest

from vqvae.cli.tables import MOST_ROWS, WORST, print_decoded, print_scores, print_sizes
from vqvae.inference.compress import Encoded
from vqvae.inference.reconstruct import Reconstructed

OUT = Path("out")
LONG = "sub-01_ses-20231001T120000_acq-axial_rec-of-a-long-name_run-{}_T2w.nii.gz"


def scored(number: int) -> list[Reconstructed]:
    """Scans whose SSIM is 1, 2, 3 … hundredths, not in this order."""
    return [
        Reconstructed(
            Path("in"), OUT / "sub" / LONG.format(at), (at * 7 % number + 1) / 100, at / 2, 0.25
        )
        for at in range(number)
    ]


def coded(number: int) -> list[Encoded]:
    return [
        Encoded(Path("in"), OUT / LONG.format(at), 1000, 1000 * (at + 1), False, 100, 0.25)
        for at in range(number)
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_of_many_scans_the_mean_and_the_worst_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = scored(84)
    print_scores(rows, OUT)

    shown = capsys.readouterr().out
    assert "mean of 84" in shown
    assert f"{sum(row.ssim for row in rows) / 84:.4f}" in shown
    names = [line.split()[0] for line in shown.splitlines() if "sub/" in line]
    worst = sorted(rows, key=lambda row: row.ssim)[:WORST]
    assert names == [f"sub/{row.target.name}" for row in worst]
    assert f"the {WORST} scans with the lowest SSIM, of 84" in shown


def test_the_spread_is_that_of_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    scans = [Reconstructed(Path("i"), OUT / "t", ssim, math.inf, 0.25) for ssim in (0.2, 0.4, 0.9)]
    print_scores(scans, OUT)

    shown = capsys.readouterr().out
    rows = [re.split("  +", line.strip()) for line in shown.splitlines()]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["mean of 3"] == ["0.5000", "inf", "0.2500"]
    assert cells["std. deviation"] == ["0.3606", "nan", "0.0000"]
    assert cells["lowest"] == ["0.2000", "inf", "0.2500"]


@pytest.mark.parametrize("all_rows", [False, True])
def test_a_small_batch_is_shown_whole(capsys: pytest.CaptureFixture[str], all_rows: bool) -> None:
    number = MOST_ROWS * 4 if all_rows else MOST_ROWS
    print_scores(scored(number), OUT, all_rows=all_rows)

    shown = capsys.readouterr().out
    assert all(LONG.format(at) in shown for at in range(number))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_tables_fit_into_the_terminal_with_names_that_differ(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    terminal.setenv("COLUMNS", str(width))
    print_scores(scored(84), OUT)
    print_sizes(coded(84), OUT)

    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    names = [line.split("  ")[0] for line in lines if re.search(r"_T2w.nii.gz|…", line)]
    assert len(set(names)) == len(names) == 2 * WORST


def test_of_many_encoded_scans_all_are_added_up_and_the_largest_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_sizes(coded(84), OUT)

    shown = capsys.readouterr().out
    total = next(line for line in shown.splitlines() if "all 84" in line)
    assert total.split()[2:5] == ["3570000", "8400", "425.0"]
    assert shown.count("run-") == WORST
    assert all(LONG.format(at) in shown for at in range(WORST))


def test_of_many_decoded_scans_the_number_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_decoded([OUT / str(at) for at in range(MOST_ROWS)], OUT)
    assert capsys.readouterr().out.splitlines() == [f"out/{at}" for at in range(MOST_ROWS)]

    print_decoded([OUT / str(at) for at in range(MOST_ROWS + 1)], OUT)
    assert capsys.readouterr().out == f"{MOST_ROWS + 1} scans are decoded to out\n"
