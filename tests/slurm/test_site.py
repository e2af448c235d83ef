"""The messages of `sweeps run` and `sweeps status` on a cluster, and the commands they run."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.filesystem import atomic
from tests.slurm.conftest import MakeSite, Site, Testbed, epochs, wait_for
from tests.slurm.counting import calls_in, most_in_a_minute, put_wrappers


def refused(site: Site, old: str, new: str) -> str:
    """Return the error message for the cluster file with a line changed; no job was submitted."""
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    ended = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", check=False)
    file.write_text(text)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stdout == ""
    assert site.testbed.queue() == []
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_cluster_file_that_does_not_fit_the_site_is_refused_before_a_job_is_submitted(
    make_site: MakeSite,
) -> None:
    site = make_site()
    message = refused(site, 'account = "comp3710"', "")
    default = "your default account 'other' is not allowed in partition comp3710"
    assert f'{default}, which allows comp3710; set account = "comp3710"' in message
    assert "did you mean 'comp3710'" in refused(site, '"comp3710"\naccount', '"comp371"\naccount')
    message = refused(site, 'account = "comp3710"', 'account = "comp3711"')
    assert "is not one of your accounts; did you mean 'comp3710'" in message
    assert "memory is never requested" in refused(site, "cpus = 2", 'cpus = 2\nmem = "4G"')
    message = refused(site, "setup = [", 'setup = ["#SBATCH --mem=4G", ')
    assert "is not a line of shell" in message
    assert "allows 12:00:00" in refused(site, 'time_limit = "30"', 'time_limit = "13:00:00"')
    assert "gres" in refused(site, 'gres = "gpu:1"', "")
    message = refused(site, "cpus = 2", 'cpus = 2\nqos = "urgnt"')
    assert "qos = 'urgnt' is not allowed for account 'comp3710'; did you mean 'urgent'" in message
    message = refused(site, 'gres = "gpu:1"', 'gres = "gpu:a100:1"')
    assert "Requested node configuration is not available" in message  # from sbatch itself
    assert not (site.folder / "runs" / "tiny").exists()


def test_status_explains_why_a_job_is_pending(make_site: MakeSite) -> None:
    site = make_site(trials=2, gate_at=1)
    other = site.testbed.call(
        "sbatch", "--parsable", "--account=comp3710", "--partition=comp3710", "--time=10",
        "--output=/dev/null", "--wrap=sleep 600",
    ).strip()  # fmt: skip
    wait_for(lambda: other in site.testbed.running())
    sweep = site.start()
    site.let_a_minute_pass()
    wait_for(lambda: all(job[3] != "None" for job in site.testbed.queue() if job[1] == "PENDING"))
    output = " ".join(site.sweeps("status").stdout.split())
    assert "are pending: your other job is running; this one starts when it ends" in output
    site.testbed.call("scancel", other)
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    site.let_a_minute_pass()
    output = " ".join(site.sweeps("status").stdout.split())
    assert re.search(r"job \d+_\d runs on n\d \((29|30) min", output)
    assert "another job of this sweep is running" in output
    site.testbed.call("scancel", "--user=root")
    wait_for(lambda: not site.testbed.queue())
    for job in sweep.paths.jobs():
        os.utime(job.submitted, (time.time() - 600, time.time() - 600))
    site.let_a_minute_pass()
    output = " ".join(site.sweeps("status").stdout.split())
    assert "has left the queue: it was cancelled" in output


def test_plan_shows_what_would_be_submitted_and_submits_nothing(make_site: MakeSite) -> None:
    site = make_site(trials=7)
    output = site.sweeps("plan", "tiny.toml", "--cluster", "testbed").stdout
    assert re.search(r"^  0000  .*learning_rate ", output, re.MULTILINE)
    assert "7 trials left, at most 9 epochs each: 63 epochs" in output
    assert "hours and jobs: not known before a first trial has run" in output
    assert "#SBATCH --account=comp3710" in output
    assert f"{site.folder}/runs/tiny/jobs/submitit" in output
    assert "--mem" not in output
    assert re.search(r"^Job \d+ to start at 20", output, re.MULTILINE)
    assert site.testbed.queue() == []
    assert not (site.folder / "runs" / "tiny").exists()


@pytest.fixture
def counted(testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log in which wrappers record each SLURM command, on every node."""
    put_wrappers(tmp_path / "wrappers", tmp_path / "commands.log")
    monkeypatch.setenv("PATH", f"{tmp_path / 'wrappers'}:{os.environ['PATH']}")
    return tmp_path / "commands.log"


def test_slurm_is_asked_twice_a_minute_at_most(counted: Path, make_site: MakeSite) -> None:
    """A sweep of many short trials is run, watched with `status`, cancelled, and run again."""
    site = make_site(trials=150, epochs=2, jobs=2, pruner="none")
    sweep = site.start()
    for _ in range(3):
        site.sweeps("status")
    wait_for(lambda: epochs(sweep) > 20, site.log)
    site.testbed.call("scancel", site.testbed.running()[0])
    site.sweeps("run", "tiny.toml", "--cluster", "testbed")
    calls = calls_in(counted)
    assert {call.host for call in calls} >= {"n1"}, calls  # commands of the jobs are counted, too
    limited = [call for call in calls if not call.submits and not call.starts_steps]
    assert most_in_a_minute(limited) <= 2, limited
    assert [call.name for call in calls if call.submits] == ["sbatch"]
    assert [call.name for call in calls].count("scontrol") == 1
    assert epochs(site.sweep()) == 300


def test_a_job_without_its_gpu(make_site: MakeSite) -> None:
    """The job fails at once, and the pending jobs and the next submission avoid its node."""
    site = make_site(
        partition="slots",
        jobs=3,
        trials=3,
        setup='"export PATH=$PWD/fake:$PATH", "sleep 1"',
    )
    fake = site.folder / "fake" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\n[ $SLURMD_NODENAME = n1 ] || echo "GPU 0: simulated"\n')
    fake.chmod(0o755)
    sweep = site.start()
    site.let_a_minute_pass()
    site.finish(sweep)
    bad = [atomic.read_json(job.bad_node) for job in sweep.paths.jobs() if job.bad_node.exists()]
    assert [found["node"] for found in bad] == ["n1"]
    assert "n1: the cluster file requests a GPU, but nvidia-smi lists no GPU" in site.log()
    claims = [atomic.read_json(a.claim) for t in sweep.paths.trials() for a in t.attempts()]
    assert {claim["host"] for claim in claims} == {"n2"}


def test_a_launcher_killed_between_sbatch_and_the_record_of_it(make_site: MakeSite) -> None:
    site = make_site(trials=3, jobs=2)
    script = (
        "import os, sys; from submitit.core import utils; from sweeps.cli.main import main\n"
        "utils.JobPaths.move_temporary_file = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "sys.argv[1:] = ['run', 'tiny.toml', '--cluster', 'testbed', '--no-watch']; main()"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=site.folder, timeout=60)
    assert killed.returncode == -9
    unrecorded = {number.partition("_")[0] for number, *_ in site.testbed.queue()}
    assert len(unrecorded) == 1
    site.let_a_minute_pass()
    sweep = site.start()
    assert {number.partition("_")[0] for number, *_ in site.testbed.queue()}.isdisjoint(
        unrecorded
        - {n.partition("_")[0] for n, state, *_ in site.testbed.queue() if state == "COMPLETING"}
    )
    site.finish(sweep)
    assert len(sweep.paths.jobs()) == 2


@pytest.mark.slow
def test_doctor_checks_this_machine_and_a_job(make_site: MakeSite) -> None:
    site = make_site(trials=2)
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    with_gpu = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed", check=False)
    assert with_gpu.returncode == 1  # the GPUs are simulated, and torch finds none
    bad = [line for line in with_gpu.stdout.splitlines() if line.startswith("✗")]
    assert len(bad) == 1, with_gpu.stdout + with_gpu.stderr
    no_device = r"✗ Python and torch in a job: .* no CUDA device \(CUDA_VISIBLE_DEVICES: \d\)"
    assert re.search(no_device, bad[0])
    file.write_text(file.read_text().replace('gres = "gpu:1"\ngpus = 1\n', ""))
    output = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed").stdout
    assert "✗" not in output
    for what in ("SLURM commands", "cluster file", "job", "data in a job", "clocks"):
        assert f"✓ {what}: " in output
    assert list((site.folder / "runs").glob(".doctor*")) == []
    file.write_text(file.read_text().replace('account = "comp3710"\n', ""))
    ended = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed", check=False)
    assert "✗ cluster file: " in ended.stdout
    assert 'set account = "comp3710"' in ended.stdout
