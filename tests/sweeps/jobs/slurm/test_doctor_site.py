"""`sweeps doctor` on sites that do what others do not, with commands that a test writes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.doctor_checks import Finding, run_check
from sweeps.cli.doctor_site import site_findings
from sweeps.config.cluster import Cluster
from sweeps.jobs.slurm.cores import check_core_count
from sweeps.jobs.slurm.submission_environment import environment_notes
from sweeps.storage.paths import SlurmPaths

Command = Callable[[str, str], Path]
CONFIGURATION = """
case "$*" in
  *--version) echo 'slurm 22.05.8';;
  'show config') printf 'MaxArraySize = 3\\nJobRequeue = 0\\nAccountingStorageType = (null)\\n';;
esac
"""
VERSION = "echo 'slurm 22.05.8'"


@pytest.fixture
def findings(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Finding]]:
    """What the doctor finds on a site with these commands, each as a script, by name."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def find(**commands: str) -> dict[str, Finding]:
        scripts = {"sbatch": VERSION, "squeue": VERSION, "scontrol": CONFIGURATION}
        for name, script in (scripts | {"sacctmgr": "exit 1"} | commands).items():
            command(name, script)
        return {found.name: found for found in site_findings(SlurmPaths(tmp_path / "slurm"))}

    return find


def test_a_bare_site_is_described_before_the_first_job(
    findings: Callable[..., dict[str, Finding]],
) -> None:
    found = findings()
    assert set(found) == {"array size", "requeue", "accounting"}
    assert "at most 3 jobs in one array" in found["array size"].message
    assert "may not be requeued" in found["requeue"].message
    assert found["accounting"].message.startswith("none")
    assert all(one.passed for one in found.values())


def test_a_wrapper_that_speaks_is_named(findings: Callable[..., dict[str, Finding]]) -> None:
    found = findings(squeue=f"echo 'Maintenance on Monday'; {VERSION}")["wrappers"]
    assert found.message == (
        "squeue prints 1 line of its own ('Maintenance on Monday'); the sweep passes over such "
        "lines"
    )


def test_limits_are_shown_by_slurms_names(findings: Callable[..., dict[str, Finding]]) -> None:
    found = findings(sacctmgr="echo 'physics|||5|12|||'")["limits"]
    assert found.message.startswith("account physics: MaxJobs=5, MaxSubmit=12;")


def test_limits_that_may_not_be_asked_now_are_not_waited_for(
    tmp_path: Path, findings: Callable[..., dict[str, Finding]]
) -> None:
    findings(sacctmgr="echo 'physics|||5|12|||'")
    slurm = SlurmPaths(tmp_path / "slurm")
    slurm.queries.write_text(f"[{slurm.clock.stat().st_mtime}]")  # one more query is allowed
    assert "run this again" in findings(sacctmgr="echo 'physics|||5|12|||'")["limits"].message


def test_a_job_around_the_doctor_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    findings: Callable[..., dict[str, Finding]],
) -> None:
    findings()
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    found = list(site_findings(SlurmPaths(tmp_path / "file" / "slurm")))
    assert found[0].message.startswith("this is inside of job 77; its SLURM_* variables are not")
    assert found[-1].message.startswith("not known: ")
    assert "file/slurm cannot be written" in found[-1].message


def test_a_site_that_exports_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SBATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    (note,) = environment_notes(Cluster(scheduler="slurm"))
    assert note.endswith("not used for this sweep: SBATCH_EXPORT")


def test_fewer_cores_than_requested_fail_in_the_doctors_job() -> None:
    found = len(os.sched_getaffinity(0))
    enough = Cluster(scheduler="slurm", cpus=found)
    assert run_check("cores", lambda: check_core_count(enough)).passed
    fewer = run_check("cores", lambda: check_core_count(Cluster(scheduler="slurm", cpus=found + 1)))
    assert not fewer.passed
    assert f"may use {found} of the {found + 1} cores" in fewer.message
