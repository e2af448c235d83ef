"""A job's folder for copies of data: made in a SLURM job, told to its workers, gone at its end."""

from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.jobs.scratch import VARIABLE, scratch_folder
from sweeps.jobs.supervisor import Supervisor
from tests.sweeps.conftest import MakeSweep

SLURM = Cluster(scheduler="slurm")


def test_the_folder_exists_while_the_job_runs_and_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_folder(SLURM, "a-0") as folder:
        assert folder is not None
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "copy").mkdir()
        (folder / "copy" / "slices.npy").write_bytes(b"slices")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_run_is_used_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_folder(SLURM, "a-0") as first, scratch_folder(SLURM, "a-0") as second:
        assert first == second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "cluster",
    [
        Cluster(),
        SLURM.model_copy(update={"scratch": ""}),
        SLURM.model_copy(update={"scratch": "$NOT_SET_HERE/x"}),
        SLURM.model_copy(update={"scratch": "/proc/no-such-folder"}),
    ],
)
def test_where_there_is_no_such_folder_the_job_runs_without_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_folder(cluster, "a-0") as folder:
        assert folder is None
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_a_shared_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "target").mkdir()
    with scratch_folder(SLURM, "a-0") as folder:
        assert folder is not None
        link = folder
    link.symlink_to(tmp_path / "target")
    with scratch_folder(SLURM, "a-0") as folder:
        assert folder is None
    assert (tmp_path / "target").is_dir()


def test_workers_are_told_of_the_folder(make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep()
    supervisor = Supervisor(sweep, sweep.paths.job("a-0"))
    for folder, expected in ((tmp_path, str(tmp_path)), (None, "")):
        slots = supervisor._build_slots(folder)
        assert {slot.environment[VARIABLE] for slot in slots} == {expected}


@pytest.mark.parametrize("folder", ["tmp/x", "~/x", "/a\nb"])
def test_a_folder_that_is_no_absolute_path_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="is no absolute path; begin it with /"):
        Cluster(scheduler="slurm", scratch=folder)
