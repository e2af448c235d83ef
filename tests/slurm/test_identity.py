"""Whose job a number is, on a real SLURM: after it lost its state, and under what a site may do."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from sweeps.storage.paths import JobPaths
from sweeps.storage.sweep import Sweep
from tests.slurm.conftest import PATH, MakeSite, Site, Testbed, epochs, wait_for

BANNER = "\\n*** This job 1000 credits ***\\nQuota: 93 %\\n\\n"
WRAPPER = """#!/bin/bash
printf '{banner}'
/usr/bin/{name} "$@"
rc=$?
printf '{banner}'
exit $rc
"""
STRANGE_COMMENT = "first line\n7_0|RUNNING|n1|1:00|second line\n\n12_[3-5%2]"


def lose_state(testbed: Testbed) -> None:
    """Let the controller start as a new one: numbers begin at 1, and no job is known."""
    testbed.act("stop", "slurmctld")
    shutil.rmtree(testbed.folder / "state")
    testbed.act("start", "slurmctld")
    wait_for(lambda: testbed.call("sinfo", "-h", "-N", "-o%T").split() == ["idle"] * 8)


def foreign_job(testbed: Testbed, *options: str) -> str:
    """Submit a job of the same user that belongs to no sweep; return its number."""
    return testbed.call(
        "sbatch", "--parsable", "--account=comp3710", "--partition=slots", "--time=10",
        "--output=/dev/null", *options, "--wrap=sleep 600",
    ).strip()  # fmt: skip


def make_older(sweep: Sweep) -> None:
    """Make the jobs' records so old that squeue's answer must have the jobs."""
    for job in sweep.paths.jobs():
        for file in (job.submitted, job.started):
            if file.exists():
                os.utime(file, (time.time() - 900, time.time() - 900))


def status(site: Site) -> str:
    site.let_a_minute_pass()
    return " ".join(site.sweeps("status").stdout.split())


def numbers_of(sweep: Sweep) -> set[str]:
    """Return the numbers of the sweep's submissions."""
    return {re.sub(r".*\"id\": \"(\d+).*", r"\1", j.submitted.read_text()) for j in jobs_of(sweep)}


def jobs_of(sweep: Sweep) -> list[JobPaths]:
    return [job for job in sweep.paths.jobs() if job.submitted.exists()]


def test_another_job_has_the_number_after_slurm_lost_its_state(
    make_site: MakeSite, testbed: Testbed
) -> None:
    lose_state(testbed)  # so the next number is 1, and will be again
    site = make_site(partition="slots", trials=3, epochs=12, seconds=0.5, pruner="none")
    sweep = site.start()
    wait_for(lambda: epochs(sweep) >= 2, site.log)
    lost = numbers_of(sweep)
    testbed.call("scancel", "--user=root")
    wait_for(lambda: not testbed.queue())
    lose_state(testbed)
    assert {foreign_job(testbed, "--array=0-1", f"--comment={STRANGE_COMMENT}")} == lost
    wait_for(lambda: len(testbed.running()) == 2)
    make_older(sweep)
    shown = status(site)
    assert "runs on" not in shown
    assert shown.count("has left the queue: ") == 2
    foreign = set(testbed.running())
    site.let_a_minute_pass()
    site.start()
    sent = numbers_of(site.sweep()) - lost
    assert len(sent) == 1
    assert foreign <= set(testbed.running())  # nothing was done to it
    wait_for(lambda: site.sweep().is_over(), site.log)
    testbed.call("scancel", *lost)
    site.finish(site.sweep())


def test_a_site_that_rewrites_comments(make_site: MakeSite, testbed: Testbed) -> None:
    site = make_site(partition="slots", trials=2, gate_at=1, jobs=1)
    sweep = site.start()
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    (number,) = numbers_of(sweep)
    testbed.call("scontrol", "update", f"JobId={number}", "Comment=charged to comp3710")
    assert f"job {number} runs on" in status(site)
    testbed.call("scontrol", "requeue", number)
    wait_for(lambda: any(job[3] == "BeginTime" for job in testbed.queue()))
    os.utime(jobs_of(sweep)[0].submitted, (time.time() - 7200, time.time() - 7200))
    assert f"job {number} is pending: the job was requeued" in status(site)
    (sweep.paths.folder / "open").touch()
    site.wait_until_over(sweep)
    site.finish(sweep)
    assert numbers_of(sweep) == {number}


@pytest.fixture
def loud(testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrappers before SLURM's commands that print a banner before and after the answer."""
    folder = tmp_path / "wrappers"
    folder.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "sacct", "sacctmgr"):
        (folder / name).write_text(WRAPPER.format(name=name, banner=BANNER.replace("%", "%%")))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{PATH}")


@pytest.mark.usefixtures("loud")
def test_loud_wrappers_and_strange_comments(make_site: MakeSite, testbed: Testbed) -> None:
    foreign = foreign_job(testbed, "--comment", STRANGE_COMMENT, "--job-name=two\nlines")
    site = make_site(partition="slots", trials=2, gate_at=1)
    sweep = site.start()
    assert len(numbers_of(sweep)) == 1
    assert numbers_of(sweep).isdisjoint({"1000", foreign})
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    assert re.search(r"job \d+_0 runs on n\d \((29|30) min", status(site))
    (sweep.paths.folder / "open").touch()
    wait_for(sweep.is_over, site.log)
    testbed.call("scancel", foreign)
    site.finish(sweep)


def test_a_wrapper_that_hides_the_number(
    make_site: MakeSite, testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is found again by its comment; it is not sent a second time."""
    folder = tmp_path / "wrappers"
    folder.mkdir()
    (folder / "sbatch").write_text('#!/bin/bash\n/usr/bin/sbatch "$@" >/dev/null && echo Sent.\n')
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{PATH}")
    site = make_site(partition="slots", trials=2)
    sweep = site.start()
    assert len(numbers_of(sweep)) == 1
    site.finish(sweep)


def test_two_clusters_share_one_home(
    make_site: MakeSite, testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(partition="slots", trials=2, gate_at=1, jobs=1)
    sweep = site.start()
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    (number,) = numbers_of(sweep)
    make_older(sweep)
    second = tmp_path / "slurm.conf"
    text = (testbed.folder / "slurm.conf").read_text()
    second.write_text(text.replace("ClusterName=testbed", "ClusterName=second"))
    monkeypatch.setenv("SLURM_CONF", str(second))
    elsewhere = f"job {number} sent to cluster testbed, and this is cluster second"
    assert elsewhere in status(site)
    started = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch").stdout
    assert elsewhere in " ".join(started.split())
    assert numbers_of(site.sweep()) == {number}  # no second job
    monkeypatch.setenv("SLURM_CONF", str(testbed.folder / "slurm.conf"))
    assert f"job {number} runs on" in status(site)
    (sweep.paths.folder / "open").touch()
    site.finish(sweep)


def test_several_partitions_and_an_account_in_capital_letters(
    make_site: MakeSite, testbed: Testbed
) -> None:
    site = make_site(partition="slots,comp3710", trials=1)
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    file.write_text(file.read_text().replace('"comp3710"\ngres', '"COMP3710"\ngres'))
    sweep = site.start()
    site.finish(sweep)
