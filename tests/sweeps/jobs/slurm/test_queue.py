"""SLURM's queue and the rate limit, with commands that the tests write."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import EnvironmentFailure
from sweeps.jobs.job_status import describe_jobs
from sweeps.jobs.slurm.commands import Patience, SlurmUnavailableError, run_command
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import Queue, read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time, run_if_allowed, run_when_allowed
from sweeps.jobs.slurm.site_info import site_user
from sweeps.jobs.slurm.time_limit import JOB_END_VARIABLE, export_job_end, seconds_left
from sweeps.storage.job_record import JobRecord, write_job_record
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.jobs.slurm.answers import queue_line
from tests.sweeps.jobs.slurm.conftest import let_pass

REASON = "ReqNodeNotAvail, May be | reserved"


def test_one_answer_is_used_by_all_processes_for_a_minute(
    make_sweep: MakeSweep, command: Callable[[str, str], Path]
) -> None:
    calls = command(
        "squeue",
        f"echo '{queue_line('7_1', left='1-02:03:04', comment='a')}'\n"
        f"echo '{queue_line('7_2', 'PENDING', left='UNLIMITED', comment='(null)', reason=REASON)}'",
    )
    paths = make_sweep().paths
    running, waiting = read_queue(paths).entries.values()
    assert (running.seconds_left, running.comment, running.is_pending) == (93784.0, "a", False)
    assert waiting.reason == REASON
    assert (waiting.seconds_left, waiting.comment, waiting.is_pending) == (None, "", True)
    assert read_queue(paths).entries == {running.id: running, waiting.id: waiting}
    assert calls.read_text().count("called") == 1
    let_pass(paths.slurm, 63)
    read_queue(paths)
    assert calls.read_text().count("called") == 2


def test_no_third_command_is_run_within_a_minute(
    make_sweep: MakeSweep, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = command("squeue", f"echo '{queue_line('7_1', comment='a')}'")
    paths = make_sweep().paths
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        if seconds > 1:  # not the sleep of a lock
            waited.append(seconds)
            let_pass(paths.slurm, seconds)

    monkeypatch.setattr("sweeps.jobs.slurm.rate_limit.time.sleep", sleep)
    assert read_queue(paths).queried_at  # one
    let_pass(paths.slurm, 61)
    assert read_queue(paths).entries  # a routine call keeps the second command for an urgent one
    assert calls.read_text().count("called") == 1
    read_queue(paths, max_age=5.0)  # two
    let_pass(paths.slurm, 10)
    assert run_if_allowed(paths.slurm, "squeue") is not None
    assert run_if_allowed(paths.slurm, "squeue") is None
    assert read_queue(paths, max_age=5.0).entries  # the older answer
    assert calls.read_text().count("called") == 3
    assert waited == []
    run_when_allowed(paths.slurm, "squeue")
    assert 42 < sum(waited) < 53
    read_queue(paths, since=file_server_time(paths.slurm))
    assert 52 < sum(waited) < 63
    assert calls.read_text().count("called") == 5


def test_an_answer_that_has_expired_is_not_used(
    make_sweep: MakeSweep, command: Callable[[str, str], Path]
) -> None:
    command("squeue", f"echo '{queue_line('7_1', comment='a')}'")
    paths = make_sweep().paths
    paths.job("a-0").folder.mkdir(parents=True)
    assert run_if_allowed(paths.slurm, "squeue")
    assert run_if_allowed(paths.slurm, "squeue")
    assert read_queue(paths) == Queue(0.0, {})
    write_job_record(paths.job("a-0").submitted, JobRecord("7_1", "slurm", None))
    assert describe_jobs(paths) == [
        "jobs: 1 submitted; their state in SLURM will be known within a minute"
    ]
    let_pass(paths.slurm, 63)
    assert read_queue(paths).queried_at
    let_pass(paths.slurm, 200)
    assert run_if_allowed(paths.slurm, "squeue")
    # Without a usable answer a routine call may use the second command of the minute.
    assert read_queue(paths).queried_at > file_server_time(paths.slurm) - 5
    assert describe_jobs(paths) == ["job 7_1 runs on n1 (1 min 00 s left)"]


def test_a_command_is_retried_while_the_controller_is_unavailable_but_not_after_a_refusal(
    tmp_path: Path, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.slurm.commands.PAUSE_SECONDS", 0.01)
    unavailable = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    calls = command(
        "squeue",
        f"[ -f {tmp_path}/back ] && exit; touch {tmp_path}/back; echo '{unavailable}' >&2; exit 1",
    )
    assert run_command("squeue", patience=Patience(30, 0)) == ""
    assert calls.read_text().count("called") == 2
    command("squeue", f"echo '{unavailable}' >&2; exit 1")
    with pytest.raises(SlurmUnavailableError, match="Unable to contact"):
        run_command("squeue")
    calls = command("squeue", "echo 'squeue: error: Invalid partition specified' >&2; exit 1")
    with pytest.raises(EnvironmentFailure, match="Invalid partition"):
        run_command("squeue", patience=Patience(30, 0))
    assert calls.read_text().count("called") == 1


def test_the_end_of_a_job_comes_from_slurm_or_from_the_job_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(scheduler="slurm", time_limit="12:00:00")
    assert seconds_left(cluster) == 12 * 3600
    line = f"{export_job_end(cluster)}; echo ${JOB_END_VARIABLE}"
    recorded = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    monkeypatch.setenv(JOB_END_VARIABLE, recorded.stdout.strip())
    assert seconds_left(cluster) == pytest.approx(12 * 3600, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", f"{time.time() + 500:.0f}")
    assert seconds_left(cluster) == pytest.approx(500, abs=5)
    assert seconds_left(Cluster(time_limit="60")) == 3600


def test_reasons_are_explained_with_what_to_do_if_the_job_never_starts() -> None:
    assert describe_reason("QOSMaxJobsPerUserLimit") == (
        "your other job is running; this one starts when it ends"
    )
    explanation = describe_reason("PartitionConfig", "7_1")
    assert explanation.startswith("it will never start: account,")
    assert "scancel 7_1" in explanation
    assert describe_reason("ReqNodeNotAvail, May be reserved").startswith("the nodes are down")
    assert "scontrol release 7" in describe_reason("JobHeldUser", "7")
    for reason in ("launch failed requeued held", "launch_failed_requeued_held"):
        assert describe_reason(reason, "7").endswith("run the sweep again to release it")
    assert describe_reason("JobHeldAdmin", "7") == (
        "the site's staff hold it; ask them to release it"
    )
    assert describe_reason("SomethingNew") == "SLURM's reason is SomethingNew"


def test_a_user_without_a_name_is_asked_for_by_id(
    make_sweep: MakeSweep,
    command: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("sweeps.jobs.slurm.site_info.getpass.getuser", nameless)
    calls = command(
        "sacctmgr", f"echo \"$*\" > {tmp_path}/arguments; echo 'testbed|a|b|normal,urgent'"
    )
    slurm = make_sweep().paths.slurm
    for _ in range(2):  # the second answer comes from the file
        user = site_user(slurm)
        assert user is not None
        assert (user.default, user.qos) == ("a", {"b": {"normal", "urgent"}})
    assert f" show user {os.getuid()} withassoc " in (tmp_path / "arguments").read_text()
    assert calls.read_text().count("called") == 1
