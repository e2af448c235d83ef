"""Which of SLURM's jobs is a sweep's, and what is shown of those that cannot be judged here."""

import os
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.filesystem import atomic
from sweeps.jobs.job_status import active_jobs, describe_jobs, jobs_elsewhere
from sweeps.jobs.launcher import _cancel_unrecorded_jobs
from sweeps.jobs.requeue import waiting_jobs_suffice
from sweeps.jobs.slurm.bad_nodes import _exclude_from_pending_jobs
from sweeps.jobs.slurm.identity import viewpoint
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.storage.job_record import JobRecord, read_job_record, write_job_record
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.jobs.slurm.answers import COMMENT, account_line, queue_line
from tests.sweeps.jobs.slurm.conftest import WriteCommand, let_pass

SUBMITTED_AT = 1796103074.0
"""2026-12-01T05:31:14 in UTC, the time of submission in `queue_line`."""
OTHER_COMMENT = "20270101-000000-ffffff"


def recorded_job(
    paths: SweepPaths, number: str = "7_0", *, index: int = 0, cluster: str = "testbed"
) -> JobPaths:
    """Record a job that was submitted when the job in `queue_line` was."""
    job = paths.job(f"{COMMENT}-{index}")
    job.folder.mkdir(parents=True)
    write_job_record(job.submitted, JobRecord(number, "slurm", None, cluster))
    os.utime(job.submitted, (SUBMITTED_AT, SUBMITTED_AT))
    return job


def answer(*lines: str) -> str:
    """Return a script that prints lines."""
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


@pytest.fixture
def slurm_sweep(make_sweep: MakeSweep) -> Sweep:
    return make_sweep(cluster=Cluster(scheduler="slurm", gpus=1, gres="gpu:1", trials_per_job=1))


def test_a_foreign_job_with_an_old_number_is_not_the_sweeps(
    slurm_sweep: Sweep, command: WriteCommand
) -> None:
    """SLURM's state was lost, numbers began at 1 again, and another job has this one."""
    job = recorded_job(slurm_sweep.paths)
    command("squeue", answer(queue_line("7_0", name="other", comment="another program")))
    command("sacct", answer(account_line("7_0", "RUNNING", name="other")))
    assert active_jobs(slurm_sweep.paths) == []
    assert describe_jobs(slurm_sweep.paths) == [
        "job 7_0 has left the queue: its fate is not recorded at this site"
    ]
    assert not job.ended.exists()


@pytest.mark.parametrize(
    ("line", "is_its"),
    [
        ({"comment": COMMENT}, True),
        ({"comment": f"{COMMENT} [charged to comp3710]", "name": "renamed"}, True),
        ({"comment": OTHER_COMMENT}, False),  # another clone's sweep of the same name
        ({"comment": ""}, True),
        ({"comment": "rewritten by the site"}, True),
        ({"comment": "", "name": "sweep-other"}, False),
        ({"comment": "", "submitted": "2026-12-01T05:35:00"}, True),  # clocks differ
        ({"comment": "", "submitted": "2026-12-01T08:31:14"}, False),
        ({"comment": "", "submitted": "N/A"}, True),
    ],
)
def test_comment_or_else_name_and_submit_time_say_whose_job_it_is(
    slurm_sweep: Sweep, command: WriteCommand, line: dict[str, str], is_its: bool
) -> None:
    job = recorded_job(slurm_sweep.paths)
    command("squeue", answer(queue_line("7_0", **line)))
    assert active_jobs(slurm_sweep.paths) == ([job] if is_its else [])


def test_a_job_that_was_requeued_hours_later_is_known_without_its_comment(
    slurm_sweep: Sweep, command: WriteCommand
) -> None:
    """A requeue gives the job a new submit time; the job itself showed a sign of life until then"""
    job = recorded_job(slurm_sweep.paths)
    write_job_record(job.started, JobRecord("7_0", "slurm", None, "testbed"))
    os.utime(job.started, (SUBMITTED_AT + 7200, SUBMITTED_AT + 7200))
    requeued = queue_line("7_0", "PENDING", comment="", submitted="2026-12-01T07:31:20")
    command("squeue", answer(requeued))
    assert active_jobs(slurm_sweep.paths) == [job]


def test_a_job_is_judged_only_on_the_cluster_that_it_was_sent_to(
    slurm_sweep: Sweep, command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = slurm_sweep.paths
    job = recorded_job(paths)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "second")
    calls = command("squeue", answer(queue_line("7_0", "CANCELLED")))
    assert active_jobs(paths) == [job]  # not gone: nobody knows that here
    assert not waiting_jobs_suffice(slurm_sweep, paths.job("20270101-000000-ffffff-0"))
    shown = describe_jobs(paths)
    assert shown == jobs_elsewhere(paths)
    assert shown == [
        "job 7_0 sent to cluster testbed, and this is cluster second; "
        f"ask there. If that cluster is gone for good: rm -r {paths.folder}/jobs/{COMMENT}-*"
    ]
    assert not job.final_state.exists()
    assert calls.read_text() == ""
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "testbed")
    assert active_jobs(paths) == []
    assert jobs_elsewhere(paths) == []


def test_the_answers_of_two_clusters_are_kept_apart(
    slurm_sweep: Sweep, command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = slurm_sweep.paths
    first = recorded_job(paths)
    command("squeue", answer(queue_line("7_0")))
    assert active_jobs(paths) == [first]
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "second")
    second = recorded_job(paths, index=1, cluster="second")
    command("squeue", answer(queue_line("7_0", "PENDING", node="")))
    assert "job 7_0 is pending: SLURM has not examined the job yet" in describe_jobs(paths)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "testbed")
    assert "job 7_0 runs on n1 (1 min 00 s left)" in describe_jobs(paths)
    assert active_jobs(paths) == [first, second]


def test_the_cluster_of_a_job_that_only_the_job_itself_knew(slurm_sweep: Sweep) -> None:
    job = recorded_job(slurm_sweep.paths, cluster="")
    write_job_record(job.started, JobRecord("7_0", "slurm", None, "testbed"))
    assert read_job_record(job).cluster == "testbed"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_another_users_jobs_get_no_fate_and_are_not_cancelled(
    slurm_sweep: Sweep, command: WriteCommand
) -> None:
    paths = slurm_sweep.paths
    job = recorded_job(paths)
    unrecorded = paths.job(f"{COMMENT}-1")
    unrecorded.folder.mkdir()
    for folder in (job.folder, unrecorded.folder):
        os.chown(folder, 65534, 65534)
    calls = command("squeue", answer())
    assert active_jobs(paths) == [job]
    assert describe_jobs(paths) == ["job 7_0 submitted by nobody; only nobody can see its state"]
    _cancel_unrecorded_jobs(paths)
    assert not unrecorded.ended.exists()
    assert not job.final_state.exists()
    assert calls.read_text() == ""
    for folder in (job.folder, unrecorded.folder):
        os.chown(folder, 0, 0)
    assert active_jobs(paths) == []


def test_how_a_job_ended_is_known_from_the_queue_while_slurm_knows_it(
    slurm_sweep: Sweep, command: WriteCommand
) -> None:
    """A site without accounting; tasks that never started are one job once they are cancelled."""
    paths = slurm_sweep.paths
    recorded_job(paths, "7_0")
    recorded_job(paths, "7_1", index=1)
    recorded_job(paths, "8", index=2)
    sacct = command("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    command("squeue", answer(queue_line("7_0", "TIMEOUT"), queue_line("7", "CANCELLED")))
    assert describe_jobs(paths) == [
        "job 7_0 has left the queue: it reached its time limit before it could requeue itself",
        "job 7_1 has left the queue: it was cancelled",
        "job 8 has left the queue: its fate is not recorded at this site",
    ]
    assert sacct.read_text().count("called") == 1
    let_pass(paths.slurm, 63)
    command("squeue", answer())
    assert len(describe_jobs(paths)) == 3  # recorded, though SLURM has forgotten them
    assert sacct.read_text().count("called") == 1


def test_a_fate_that_cannot_be_asked_for_now_is_asked_for_later(
    slurm_sweep: Sweep, command: WriteCommand
) -> None:
    paths = slurm_sweep.paths
    job = recorded_job(paths)
    command("squeue", answer())
    command("sacct", "echo 'slurm_persist_conn_open: Connection refused' >&2; exit 1")
    assert describe_jobs(paths) == [
        "job 7_0 has left the queue: how it ended will be known within a minute"
    ]
    let_pass(paths.slurm, 63)
    command("sacct", answer(account_line("7_0", "CANCELLED by 1000")))
    assert describe_jobs(paths) == ["job 7_0 has left the queue: it was cancelled"]
    assert atomic.read_json(job.final_state) == {"state": "CANCELLED"}


def test_only_the_sweeps_own_jobs_are_changed_or_cancelled(
    slurm_sweep: Sweep, command: WriteCommand, tmp_path: Path
) -> None:
    paths = slurm_sweep.paths
    recorded_job(paths, "7_0")
    recorded_job(paths, "9_1", index=1)
    unrecorded = paths.job(f"{OTHER_COMMENT}-1")
    unrecorded.folder.mkdir()
    queue = answer(
        queue_line("7_0", "PENDING", name="other", comment="another program"),
        queue_line("9_1", "PENDING"),
        queue_line("12_0", comment=OTHER_COMMENT),
        queue_line("12_1", comment=f"{OTHER_COMMENT} added"),
    )
    command("squeue", queue)
    command("scontrol", f'echo "$@" > {tmp_path}/changed')
    command("scancel", f'echo "$@" > {tmp_path}/cancelled')
    _exclude_from_pending_jobs(slurm_sweep)
    assert "JobId=9_1 " in (tmp_path / "changed").read_text()
    for _ in range(2):
        let_pass(paths.slurm, 63)
    _cancel_unrecorded_jobs(paths)
    assert (tmp_path / "cancelled").read_text() == "12_1\n"
    assert unrecorded.ended.exists()


def test_the_name_of_the_cluster_is_asked_for_once_a_day(
    slurm_sweep: Sweep, command: WriteCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Inside a job, with one chosen cluster or with SLURM_CONF it is known without asking."""
    slurm = slurm_sweep.paths.slurm
    monkeypatch.setenv("SLURM_CLUSTERS", "chosen")
    assert cluster_name(slurm) == "chosen"
    monkeypatch.setenv("SLURM_CLUSTERS", "one,two")
    assert cluster_name(slurm) == ""
    monkeypatch.delenv("SLURM_CLUSTERS")
    assert cluster_name(slurm) == "testbed"
    monkeypatch.delenv("SLURM_CLUSTER_NAME")
    (tmp_path / "slurm.conf").write_text("# comment\nClusterName=filed # of the department\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert cluster_name(slurm) == "filed"
    monkeypatch.delenv("SLURM_CONF")
    calls = command("scontrol", answer("Welcome!", "ClusterName             = asked", "X = y"))
    assert [cluster_name(slurm) for _ in range(3)] == ["asked"] * 3
    assert calls.read_text().count("called") == 1


def test_a_site_that_does_not_show_its_configuration_leaves_room_for_the_queue(
    slurm_sweep: Sweep, command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that fails is not asked at every turn: two commands a minute are allowed."""
    monkeypatch.delenv("SLURM_CLUSTER_NAME")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    paths = slurm_sweep.paths
    recorded_job(paths)
    asked = command("scontrol", "echo 'scontrol: error: not permitted here' >&2; exit 1")
    queue = command("squeue", "")
    for _ in range(4):
        describe_jobs(paths)
        let_pass(paths.slurm, 31)
    assert asked.read_text().count("called") == 1
    assert queue.read_text().count("called") >= 2


def test_capital_letters_in_a_clusters_name_do_not_matter(
    slurm_sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SLURM has the name in small letters, its configuration file as it was written."""
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "TestBed")
    job = recorded_job(slurm_sweep.paths)
    assert viewpoint(slurm_sweep.paths).judges(job, read_job_record(job))
    (tmp_path / "slurm.conf").write_text("ClusterName=TestBed\n")
    monkeypatch.delenv("SLURM_CLUSTER_NAME")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert cluster_name(slurm_sweep.paths.slurm) == "testbed"


def test_a_folder_of_another_version_is_read(slurm_sweep: Sweep, command: WriteCommand) -> None:
    """Records without a cluster, and a stored answer in another form."""
    job = recorded_job(slurm_sweep.paths)
    job.submitted.write_text('{"id": "7_0", "scheduler": "slurm", "process": null}')
    slurm = slurm_sweep.paths.slurm
    slurm.folder.mkdir(parents=True)
    slurm.queue.write_text('{"queried_at": 1.0, "entries": []}')
    command("squeue", answer(queue_line("7_0")))
    assert active_jobs(slurm_sweep.paths) == [job]
