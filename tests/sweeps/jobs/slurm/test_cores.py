"""A job that has fewer cores than it was promised says so."""

import os

import pytest

from sweeps.config.cluster import Cluster
from sweeps.jobs.slurm.cores import check_cores, fewer_cores_lines
from sweeps.storage.job_record import JobRecord, write_job_record
from tests.sweeps.conftest import MakeSweep


def test_a_job_with_fewer_cores_says_so_until_it_has_them(
    make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    found = len(os.sched_getaffinity(0))
    paths = make_sweep().paths
    job = paths.job("a-0")
    job.folder.mkdir(parents=True)
    write_job_record(job.submitted, JobRecord("12_0", "slurm", None))
    check_cores(Cluster(scheduler="slurm", cpus=found + 1), job)
    assert f"this job may use {found} of the {found + 1} cores" in capsys.readouterr().out
    (line,) = fewer_cores_lines(paths)
    assert line.startswith(f"job 12_0 may use {found} of the {found + 1} cores")
    check_cores(Cluster(scheduler="slurm", cpus=found), job)  # on another node
    assert list(fewer_cores_lines(paths)) == []


def test_a_local_job_is_promised_no_cores(make_sweep: MakeSweep) -> None:
    paths = make_sweep().paths
    check_cores(Cluster(cpus=10_000), paths.job("a-0"))
    assert list(fewer_cores_lines(paths)) == []
