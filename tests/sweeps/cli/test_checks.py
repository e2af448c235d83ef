"""What `run` would refuse is refused by `plan`, too, and has a cross in `doctor`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweeps.cli.doctor import run_checks
from sweeps.cli.doctor_checks import Finding
from sweeps.cli.plan import describe_plan
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.jobs.start import SweepRequest, prepare_sweep
from sweeps.storage.paths import RunsPaths
from tests.sweeps import tiny
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of

WriteExperiment = Callable[..., Path]


def request_for(experiment: Path, cluster: str = "local") -> SweepRequest:
    return SweepRequest(experiment, cluster, RunsPaths(experiment.parent / "runs"))


def findings(request: SweepRequest) -> dict[str, Finding]:
    return {finding.name: finding for finding in run_checks(request, 0)}


class Missing(tiny.Tiny):
    """A trainer whose data or device are missing on this machine."""

    data: Exception | None = None
    device: Exception | None = None
    gpu: bool | None = None

    def check_data(self, configs: Sequence[tiny.Config]) -> str:
        if self.data is not None:
            raise self.data
        return "five slices"

    def prepare(self, configs: Sequence[tiny.Config]) -> str:
        self.check_data(configs)
        return "tiny"

    def check_device(self, configs: Sequence[tiny.Config], *, gpu: bool) -> str:
        self.gpu = gpu
        if self.device is not None:
            raise self.device
        return "a processor"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Missing:
    missing = Missing()
    monkeypatch.setattr(tiny, "trainer", missing)
    return missing


@pytest.mark.parametrize("what", ["data", "device"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no folder /scans"), "no folder /scans"),
        (
            KeyError("scans"),
            "trainer 'tests.sweeps.tiny:trainer' cannot check its data or device: "
            "KeyError: 'scans'",
        ),
    ],
)
def test_missing_data_or_a_missing_device_are_found_by_all_three_commands(
    trainer: Missing,
    write_experiment: WriteExperiment,
    what: str,
    error: Exception,
    message: str,
) -> None:
    setattr(trainer, what, error)
    request = request_for(write_experiment())
    for command in (describe_plan, prepare_sweep):
        with pytest.raises(InputError) as refused:
            command(request)
        assert str(refused.value) == message
    assert not request.runs.folder.exists()
    found = findings(request)
    assert found.pop(what) == Finding(what, False, message)
    assert all(finding.passed for finding in found.values())


def test_what_was_found_is_shown(trainer: Missing, write_experiment: WriteExperiment) -> None:
    request = request_for(write_experiment())
    assert describe_plan(request)[:2] == ["data: five slices", "device: a processor"]
    found = findings(request)
    assert (found["data"].message, found["device"].message) == ("five slices", "a processor")
    assert trainer.gpu is False


@pytest.mark.parametrize(("scheduler", "expected"), [("local", True), ("slurm", None)])
def test_the_device_is_checked_here_only_if_jobs_run_here(
    trainer: Missing,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheduler: str,
    expected: bool | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "clusters").mkdir(parents=True)
    cluster = tmp_path / "experiments" / "clusters" / "lab.toml"
    cluster.write_text(f'scheduler = "{scheduler}"\ngpus = 1\n')
    monkeypatch.setattr("sweeps.cli.doctor.shutil.which", lambda _: None)  # no SLURM here
    findings(request_for(write_experiment(), "lab"))
    assert trainer.gpu is expected


def test_a_sweep_that_is_over_needs_no_device(
    trainer: Missing, make_sweep: MakeSweep, write_experiment: WriteExperiment
) -> None:
    sweep = make_sweep(trials=1, epochs=1)
    worker_of(sweep).run()
    trainer.device = ValueError("no GPU")
    request = request_for(write_experiment(trials=1, epochs=1))
    assert prepare_sweep(request).is_over()
    assert "device" not in "\n".join(describe_plan(request))


def test_a_trainer_whose_package_cannot_be_imported_is_one_line_and_the_rest_is_checked(
    write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab_trainer.py").write_text("import package_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = EXPERIMENT.replace("tests.sweeps.tiny:trainer", "lab_trainer:trainer")
    request = request_for(write_experiment(text=text))
    found = findings(request)
    sys.modules.pop("lab_trainer", None)
    message = "no module named 'package_that_is_missing'; is it installed in this environment?"
    assert found["experiment"].message.endswith(message)
    assert "data" not in found
    assert found["tracking store"].passed
    with pytest.raises(InputError, match="package_that_is_missing"):
        describe_plan(request)


def test_a_runs_folder_that_is_a_file_has_a_cross(write_experiment: WriteExperiment) -> None:
    request = request_for(write_experiment())
    request.runs.folder.write_text("")
    found = findings(request)
    reason = "cannot be written (Not a directory); use another folder with --runs"
    assert found["runs folder"] == Finding("runs folder", False, f"{request.runs.folder} {reason}")


def test_a_store_that_run_refuses_has_a_cross(
    write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    finding = findings(request_for(write_experiment()))["tracking store"]
    assert not finding.passed
    assert "MLFLOW_TRACKING_URI: a URI with a user name" in finding.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_another_users_sweep_is_refused_before_anything_is_written(
    make_sweep: MakeSweep, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    sweep = make_sweep(trials=2)
    sweep.paths.scheduler_logs.mkdir(parents=True)
    os.chown(sweep.paths.scheduler_logs, 65534, 65534)
    before = {path: path.stat().st_mtime_ns for path in sweep.paths.folder.rglob("*")}
    with pytest.raises(EnvironmentFailure, match="belongs to another user"):
        prepare_sweep(request_for(write_experiment(trials=3)))
    assert {path: path.stat().st_mtime_ns for path in sweep.paths.folder.rglob("*")} == before
