"""Hostile names are refused in one line or shown as text; they reach no path and no shell."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from sweeps.cli.models import versions_table
from sweeps.config.cluster import Cluster
from sweeps.config.experiment import Objective
from sweeps.errors import EnvironmentFailure
from sweeps.jobs.job_status import active_jobs
from sweeps.jobs.launcher import submit_missing, submit_missing_here
from sweeps.monitor.lines import trial_line
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.monitor.table import SweepTable
from sweeps.promotion.entities import Version
from sweeps.promotion.model_card import _plain
from sweeps.storage.progress import Progress
from sweeps.storage.sweep_totals import Totals
from sweeps.text import MAX_LENGTH, one_line, printable
from tests.fuzz.text import HOSTILE
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.conftest import EXPERIMENT, MakeSweep

__all__ = ["run"]  # the fixture
# `a…a` is a valid name; `NUL` and `con` are harmless on this system.
BAD = [name for name in HOSTILE if name not in {"a" * 64, "NUL", "con"} and "\0" not in name]
ESCAPES = "\x1b[31mred\x1b[0m \x9b2J [bold]loud[/bold]"


def shown(what: object) -> str:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system=None).print(what)
    return out.getvalue()


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", BAD)
def test_no_command_accepts_a_hostile_sweep_name(
    run: Run, make_sweep: MakeSweep, tmp_path: Path, name: str
) -> None:
    runs = make_sweep().paths.runs.folder
    before = tree(tmp_path)
    for command in ("status", "watch", "stop", "sync", "promote", "models", "rollback"):
        status, _, err = run(command, "--runs", str(runs), "--", name)
        assert (status, err.count("\n")) == (2, 1), (command, err)
        assert err[:-1].isprintable()
    assert tree(tmp_path) == before


GIVEN = [("name", name) for name in BAD] + [("trainer", name) for name in BAD]
GIVEN += [("promotion", name) for name in BAD if name]  # empty: the default


@pytest.mark.parametrize(("key", "name"), GIVEN)
def test_no_experiment_accepts_a_hostile_name(
    run: Run, tmp_path: Path, key: str, name: str
) -> None:
    word = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in name)
    text = EXPERIMENT.format(trials=3, epochs=2, pruner="none", seconds=0, bug="false", gate_at=0)
    old, new = {
        "name": ('name = "tiny"', f'name = "{word}"'),
        "trainer": ('"tests.sweeps.tiny:trainer"', f'"{word}:x"'),
        "promotion": ("[sampler]", f'[promotion]\nmodel = "{word}"\n[sampler]'),
    }[key]
    (tmp_path / "bad.toml").write_text(text.replace(old, new))
    before = tree(tmp_path)
    command = ("run", str(tmp_path / "bad.toml"), "--runs", str(tmp_path / "runs"))
    status, out, err = run(*command)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err[:-1].isprintable()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_cluster_name_is_refused(
    run: Run, write_experiment: Callable[..., Path], name: str
) -> None:
    status, _, err = run("plan", str(write_experiment()), f"--cluster={name}")
    if name:  # an empty one means the default
        assert (status, err.count("\n")) == (2, 1)
        assert err[:-1].isprintable()


@pytest.mark.parametrize("key", ["partition", "account", "qos", "gres", "constraint", "exclude"])
@pytest.mark.parametrize("value", ["a\ntouch pwned", "a b", "", "\x1b[31m", "a\u2028b"])
def test_a_value_for_the_jobs_script_must_be_one_word(key: str, value: str) -> None:
    with pytest.raises(ValidationError, match="is not one word"):
        Cluster.model_validate({"scheduler": "slurm", key: value})


def test_a_setup_line_must_be_one_line() -> None:
    advice = "an entry has several lines; write each line as an entry of its own"
    with pytest.raises(ValidationError, match=advice):
        Cluster(setup=["true\n#SBATCH --mem=1"])


def test_escapes_and_markup_of_a_trial_are_shown_as_text() -> None:
    trial = TrialStatus(
        *("0000-[red]", ESCAPES, 1, 2, 0.5, {ESCAPES: ESCAPES}, None, None, ESCAPES),
        is_best=True,
    )
    status = SweepStatus(
        *("[red]name\x1b[2J", Objective(metric=f"val/{ESCAPES}"), Progress(1, 0, 0), [trial]),
        *(Totals({}, None, None, 0.0, 0.0), False, None, (ESCAPES,)),
    )
    for text in (shown(SweepTable(status)), printable(trial_line(trial, "val/x"))):
        assert "\x1b[31m" not in text
        assert "\x9b" not in text
        assert "\\x1b[31m" in text
        assert "[bold]" in text


def test_escapes_in_the_tags_of_a_shared_registry_are_shown_as_text() -> None:
    tags = dict.fromkeys(("sweep.decision", "sweep.name", "sweep.metric", "sweep.test"), ESCAPES)
    text = shown(versions_table("model", [Version(1, frozenset({"champion"}), tags, 0)]))
    assert "\x1b[31m" not in text
    assert "\x9b" not in text
    assert "[bold]" in text


def test_a_cell_of_a_model_card_contains_no_markup() -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) | a\nb ![i](http://x) \x1b[2J"
    cell = _plain(hostile)
    assert "<" not in cell
    assert "\n" not in cell
    assert "\x1b" not in cell
    assert cell.count("\\[") == cell.count("[")
    assert cell.count("\\|") == cell.count("|")


def test_a_very_long_message_keeps_its_beginning_and_its_end() -> None:
    line = one_line("the thing " + "x" * 10**6 + " the advice")
    assert len(line) <= MAX_LENGTH + 10
    assert line.startswith("the thing")
    assert line.endswith("the advice")


def test_the_folder_of_pickles_is_accessible_to_its_owner_alone(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, epochs=1)
    old = os.umask(0)
    try:
        sweep.paths.scheduler_logs.mkdir(parents=True, mode=0o777)
        submit_missing(sweep)
    finally:
        os.umask(old)
    deadline = time.monotonic() + 90
    while active_jobs(sweep.paths):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert sweep.paths.scheduler_logs.stat().st_mode & 0o777 == 0o700
    pickles = list(sweep.paths.scheduler_logs.glob("*_submitted.pkl"))
    assert len(pickles) == 1


def test_a_folder_of_pickles_of_another_user_is_not_used(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(EnvironmentFailure, match="belongs to another user, and jobs would run"):
        submit_missing_here(sweep)
    assert sweep.paths.runs.sweep("tiny").jobs() == []
