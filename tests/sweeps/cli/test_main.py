"""The command line: bad input gives one line and status 2, and changes nothing."""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli import main as cli
from sweeps.cli import sweep_arguments
from sweeps.monitor.lines import failure_lines
from sweeps.monitor.sweep_status import sweep_status
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import EXPERIMENT, worker_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


def bad(old: str, new: str) -> str:
    text = EXPERIMENT.format(trials=3, epochs=2, pruner="none", seconds=0, bug="false", gate_at=0)
    assert old in text
    return text.replace(old, new)


BAD_EXPERIMENTS = {
    "a misspelt key": (
        bad("\ntrials =", "\ntrails ="),
        r"unknown key 'trails'; did you mean 'trials'",
    ),
    "a misspelt key in a table": (
        bad("startup_trials =", "startup_trails ="),
        r"unknown key 'sampler.startup_trails'; did you mean 'startup_trials'",
    ),
    "a misspelt key of the trainer": (
        bad("epochs =", "epoch ="),
        r"\[trial\]: unknown key 'training.epoch'; did you mean 'epochs'",
    ),
    "a path that is not a field": (
        bad('"training.batch_size"', '"training.batchsize"'),
        r"'training.batchsize' is not a field of the trial.*; did you mean 'training.batch_size'",
    ),
    "a path in another table": (
        bad('"training.batch_size"', '"model.batch_size"'),
        r"'model.batch_size' is not a field of the trial.*; did you mean 'training.batch_size'",
    ),
    "a bound that the field refuses": (
        bad("high = 10.0", "high = 11.0"),
        r"training.learning_rate = 11.0: input should be less than or equal to 10",
    ),
    "a choice that the field refuses": (
        bad("[4, 16, 64]", "[4, 0]"),
        r"training.batch_size = 0: input should be greater than",
    ),
    "a batch larger than the data": (
        bad("[4, 16, 64]", "[4, 101]"),
        r"batch_size 101 is too large",
    ),
    "a name that is not valid for a folder": (
        bad('"tiny"', '"../tiny"'),
        r"'../tiny' becomes a folder's name",
    ),
    "a trainer that does not exist": (
        bad("tests.sweeps.tiny:", "tests.sweeps.tinny:"),
        r"no module named 'tests.sweeps.tinny'",
    ),
    "a trainer without its attribute": (bad("tiny:trainer", "tiny:coach"), r"has no 'coach'"),
    "a trainer that is not a valid name": (
        bad("tests.sweeps.tiny:trainer", "tiny"),
        r"trainer 'tiny' is not a valid name; write module:attribute",
    ),
    "a trainer that is something else": (
        bad("tests.sweeps.tiny:trainer", "os:path"),
        r"trainer 'os:path' is not a trainer: it has no config, bounds",
    ),
    "a trainer without a module": (bad("tests.sweeps.tiny:", ".tiny:"), r"cannot be imported"),
    "a direction that does not fit the metric": (
        bad(
            "[pruner]", '[objective]\nmetric = "val/loss"\ndirection = "maximize"\n[pruner]'
        ).replace('[objective]\nmetric = "val/score"\n', ""),
        r"direction = 'maximize': val/loss is a metric to minimize",
    ),
    "a name that is reserved for another folder": (
        bad('"tiny"', '"artifacts"'),
        r"'artifacts' is the name of another folder",
    ),
    "a range with a fraction for an integer": (
        bad("[4, 16, 64]", "{ low = 4, high = 64.0 }"),
        r"training.batch_size = .*valid integer",
    ),
    "cases of something that is not a name": (
        bad('depends_on = "training.optimizer"', "depends_on = [1]"),
        r"depends_on = \[1\] is not a dimension with a list of choices",
    ),
    "a metric that cannot be optimized": (
        bad("val/score", "val/scores"),
        r"metric = 'val/scores' is not a metric to optimize; did you mean 'val/score'",
    ),
    "no trials": (
        bad("trials = 3", "trials = 0"),
        r"trials = 0: input should be greater than or equal to 1",
    ),
    "no TOML": (bad("[objective]", "[objective"), r"cannot be read as TOML"),
    "a trial outside the space": (
        bad("[pruner]", '[[enqueue]]\n"training.batch_size" = 5\n[pruner]'),
        r"\[\[enqueue\]\] training.batch_size = 5 is outside choices 4, 16, 64",
    ),
    "no space": (
        bad('"training.batch_size" = [4, 16, 64]', '"training.batch_size" = 4'),
        r"write a list of values, or",
    ),
}


@pytest.mark.parametrize("kind", BAD_EXPERIMENTS)
def test_a_bad_experiment_ends_before_any_job(run: Run, tmp_path: Path, kind: str) -> None:
    text, message = BAD_EXPERIMENTS[kind]
    (tmp_path / "bad.toml").write_text(text)
    status, out, err = run("run", str(tmp_path / "bad.toml"), "--runs", str(tmp_path / "runs"))
    assert status == 2
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert out == ""
    assert RunsPaths(tmp_path / "runs").sweeps() == []


def test_a_missing_experiment_gives_the_names_of_similar_ones(run: Run) -> None:
    status, _, err = run("run", "quickstat")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean 'quickstart' or 'quickstart_longer'?" in err


def test_a_missing_cluster_gives_the_names_of_similar_ones(
    run: Run, write_experiment: Callable[..., Path]
) -> None:
    status, _, err = run("run", str(write_experiment()), "--cluster", "rangpor")
    assert (status, err.count("\n")) == (2, 1)
    assert "no cluster 'rangpor'" in err
    assert "did you mean 'rangpur'?" in err


def test_a_runs_folder_that_cannot_be_written_is_refused(
    run: Run, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    status, _, err = run("run", str(write_experiment()), "--runs", str(tmp_path / "runs"))
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot be written" in err
    assert "--runs" in err


def test_a_different_sweep_of_the_same_name_is_refused_and_unchanged(
    run: Run, make_sweep: Callable[..., object], write_experiment: Callable[..., Path]
) -> None:
    sweep = make_sweep(epochs=9)
    before = {p: p.read_bytes() for p in sweep.paths.folder.rglob("*") if p.is_file()}
    path = write_experiment(epochs=5)
    status, _, err = run("run", str(path), "--runs", str(sweep.paths.runs.folder))
    assert (status, err.count("\n")) == (2, 1)
    assert "holds another sweep: trial.training.epochs was 9 and is 5" in err
    assert before == {p: p.read_bytes() for p in sweep.paths.folder.rglob("*") if p.is_file()}


def test_a_missing_sweep_is_named(run: Run, tmp_path: Path) -> None:
    assert run("status", "--runs", str(tmp_path))[0] == 2
    status, _, err = run("watch", "nothing", "--runs", str(tmp_path))
    assert status == 2
    assert "no sweep 'nothing'" in err


def test_an_unknown_option_gives_status_2(run: Run) -> None:
    assert run("run", "--no-such-option")[0] == 2


def test_debug_shows_the_traceback(run: Run, tmp_path: Path) -> None:
    _, _, err = run("--debug", "watch", "nothing", "--runs", str(tmp_path))
    assert "Traceback" in err


def test_help_and_status_import_no_large_package_and_answer_at_once(
    make_sweep: Callable[..., object],
) -> None:
    sweep = make_sweep()
    helps = [[command, "--help"] for command in ("promote", "models", "rollback", "ui", "watch")]
    for arguments in (["--help"], *helps, ["status", "--runs", str(sweep.paths.runs.folder)]):
        command = [sys.executable, "-X", "importtime", "-m", "sweeps", *arguments]
        started = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True)
        assert time.monotonic() - started < 10  # only against a hang; a benchmark measures it
        assert ended.returncode == 0
        imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
        allowed = {"optuna", "submitit", "numpy"} if arguments[0] == "promote" else set()
        large = {"optuna", "torch", "mlflow", "submitit", "nibabel", "numpy"}
        assert not imported & large - allowed


def test_the_commands_that_are_printed_can_be_typed(
    make_sweep: Callable[..., object], tmp_path: Path
) -> None:
    from dataclasses import replace

    sweep = make_sweep("runs of mine")
    arguments = (
        str(tmp_path / "a file.toml"),
        "--cluster",
        "local",
        "--runs",
        str(sweep.paths.runs.folder),
    )
    sweep = replace(sweep, plan=replace(sweep.plan, command=arguments))
    assert shlex.split(sweep_arguments.resume_command(sweep))[-len(arguments) :] == list(arguments)
    assert shlex.split(sweep_arguments.sweep_command("watch", sweep))[-3:] == [
        "tiny",
        "--runs",
        str(sweep.paths.runs.folder),
    ]


def test_a_cluster_without_its_scheduler_is_refused(
    run: Run, write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.slurm.site_check.shutil.which", lambda _: None)
    status, _, err = run(
        "run", str(write_experiment()), "--cluster", "rangpur", "--runs", str(tmp_path / "runs")
    )
    assert (status, err.count("\n")) == (2, 1)
    assert "sbatch not found; log in to the cluster" in err
    assert not (tmp_path / "runs" / "tiny").exists()


def test_an_incomplete_folder_is_not_a_sweep_and_hides_no_other(
    run: Run, make_sweep: Callable[..., object]
) -> None:
    sweep = make_sweep()
    half = sweep.paths.runs.folder / "half"
    half.mkdir()
    (half / "sweep.json").write_text("{}")
    assert run("status", "--runs", str(sweep.paths.runs.folder))[0] == 0


def test_a_make_target_is_printed_only_if_it_means_the_same_sweep(
    make_sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = make_sweep()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPS_RUNS", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert sweep_arguments.make_or_sweeps("promote", older, "promote", "tiny") == "make promote"
    newer = make_sweep(text=EXPERIMENT.replace('name = "tiny"', 'name = "newer"'), name="newer")
    assert sweep_arguments.make_or_sweeps("promote", newer, "promote", "newer") == "make promote"
    assert "promote tiny --runs" in sweep_arguments.make_or_sweeps(
        "promote", older, "promote", "tiny"
    )


def test_status_names_what_went_wrong_and_the_traceback(
    run: Run, make_sweep: Callable[..., Sweep]
) -> None:
    sweep = make_sweep(bug="true")
    worker_of(sweep, trials=2).run()
    status, out, _ = run("status", "--runs", str(sweep.paths.runs.folder))
    assert status == 0
    for trial in sweep.paths.trials():
        message = (
            rf"{trial.name} failed: RuntimeError: a bug of the trainer's "
            r"\(in inject_failure, tiny.py:\d+\)\n"
        )
        assert re.search(message + f"traceback:\n  {trial.attempt(1).traceback}\n", out)


def test_of_many_failures_only_the_latest_are_shown(make_sweep: Callable[..., Sweep]) -> None:
    sweep = make_sweep(bug="true", trials=1)
    worker_of(sweep, trials=1).run()
    (failed,) = sweep_status(sweep, None).trials
    lines = failure_lines([failed] * 7)
    assert lines[0] == "2 earlier ones are not shown"
    assert len(lines) == 1 + 2 * 5
