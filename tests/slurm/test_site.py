"""What `sweeps run` and `sweeps status` say on a cluster, and what they ask of it."""

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
    """What is said of the cluster file with a line changed; nothing may have been sent."""
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


def test_what_would_be_refused_or_wait_for_ever_is_said_before_anything_is_sent(
    make_site: MakeSite,
) -> None:
    site = make_site()
    said = refused(site, 'account = "comp3710"', "")
    assert "your default account is 'other'; give account = \"comp3710\"" in said
    assert "did you mean 'comp3710'" in refused(site, '"comp3710"\naccount', '"comp371"\naccount')
    said = refused(site, 'account = "comp3710"', 'account = "comp3711"')
    assert "none of yours; did you mean 'comp3710'" in said
    assert "memory is never asked for" in refused(site, "cpus = 2", 'cpus = 2\nmem = "4G"')
    said = refused(site, "setup = [", 'setup = ["#SBATCH --mem=4G", ')
    assert "is no line of shell" in said
    assert "allows 12:00:00" in refused(site, 'time_limit = "30"', 'time_limit = "13:00:00"')
    assert "gres" in refused(site, 'gres = "gpu:1"', "")
    assert "qos = 'urgnt' is not for you; did you mean 'urgent'" in refused(
        site, "cpus = 2", 'cpus = 2\nqos = "urgnt"'
    )
    said = refused(site, 'gres = "gpu:1"', 'gres = "gpu:a100:1"')
    assert "Requested node configuration is not available" in said  # sbatch says so itself
    assert not (site.folder / "runs" / "tiny").exists()


def test_memory_asked_for_by_the_environment_is_refused_too(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    monkeypatch.setenv("SBATCH_MEM_PER_NODE", "4G")
    ended = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", check=False)
    assert ended.returncode == 2
    assert "SBATCH_MEM_PER_NODE" in ended.stderr


def test_status_says_why_a_job_waits(make_site: MakeSite) -> None:
    site = make_site(trials=2, gate_at=1)
    other = site.testbed.call(
        "sbatch", "--parsable", "--account=comp3710", "--partition=comp3710", "--time=10",
        "--output=/dev/null", "--wrap=sleep 600",
    ).strip()  # fmt: skip
    wait_for(lambda: other in site.testbed.running())
    sweep = site.start()
    site.let_a_minute_pass()
    wait_for(lambda: all(job[3] != "None" for job in site.testbed.queue() if job[1] == "PENDING"))
    said = " ".join(site.sweeps("status").stdout.split())
    assert "wait: your other job is running; this one starts when it ends" in said
    site.testbed.call("scancel", other)
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    site.let_a_minute_pass()
    said = " ".join(site.sweeps("status").stdout.split())
    assert re.search(r"job \d+_\d runs on n\d \((29|30) min", said)
    assert "another job of this sweep is running" in said
    site.testbed.call("scancel", "--user=root")
    wait_for(lambda: not site.testbed.queue())
    for job in sweep.paths.jobs():
        os.utime(job.submitted, (time.time() - 600, time.time() - 600))
    site.let_a_minute_pass()
    assert "is gone: it was cancelled" in " ".join(site.sweeps("status").stdout.split())


def test_plan_shows_what_would_be_sent_and_sends_nothing(make_site: MakeSite) -> None:
    site = make_site(trials=7)
    said = site.sweeps("plan", "tiny.toml", "--cluster", "testbed").stdout
    assert re.search(r"^  0000  .*learning_rate ", said, re.MULTILINE)
    assert "7 trials of at most 9 epochs are left: 63 epochs" in said
    assert "no epoch has been timed yet" in said
    assert "#SBATCH --account=comp3710" in said
    assert f"{site.folder}/runs/tiny/jobs/submitit" in said
    assert "--mem" not in said
    assert re.search(r"^Job \d+ to start at 20", said, re.MULTILINE)
    assert site.testbed.queue() == []
    assert not (site.folder / "runs" / "tiny").exists()


@pytest.fixture
def counted(testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which each of SLURM's commands notes itself, wherever it is given."""
    put_wrappers(tmp_path / "wrappers", tmp_path / "commands.log")
    monkeypatch.setenv("PATH", f"{tmp_path / 'wrappers'}:{os.environ['PATH']}")
    return tmp_path / "commands.log"


def test_slurm_is_asked_twice_a_minute_at_most(counted: Path, make_site: MakeSite) -> None:
    """A sweep that is run, looked at, cut short, and run again, with hundreds of short trials."""
    site = make_site(trials=150, epochs=2, jobs=2, pruner="none")
    sweep = site.start()
    for _ in range(3):
        site.sweeps("status")
    wait_for(lambda: epochs(sweep) > 20, site.log)
    site.testbed.call("scancel", site.testbed.running()[0])
    site.sweeps("run", "tiny.toml", "--cluster", "testbed")
    calls = calls_in(counted)
    assert {call.host for call in calls} >= {"n1"}, calls  # the jobs' own are counted
    asked = [call for call in calls if not call.submits and not call.starts_steps]
    assert most_in_a_minute(asked) <= 2, asked
    assert [call.name for call in calls if call.submits] == ["sbatch"]
    assert [call.name for call in calls].count("scontrol") == 1
    assert epochs(site.sweep()) == 300


def test_a_gpu_that_is_not_there(make_site: MakeSite) -> None:
    """The job fails at once, and its node is left out by those that wait and by the next."""
    site = make_site(
        partition="slots",
        jobs=3,
        trials=3,
        setup='"export PATH=$PWD/fake:$PATH", "sleep 1"',
    )
    fake = site.folder / "fake" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\n[ $SLURMD_NODENAME = n1 ] || echo "GPU 0: a pretended one"\n')
    fake.chmod(0o755)
    sweep = site.start()
    site.let_a_minute_pass()
    site.finish(sweep)
    unfit = [atomic.read_json(job.bad_node) for job in sweep.paths.jobs() if job.bad_node.exists()]
    assert [found["node"] for found in unfit] == ["n1"]
    assert "n1: the cluster file promises a GPU, and nvidia-smi sees none" in site.log()
    claims = [atomic.read_json(a.claim) for t in sweep.paths.trials() for a in t.attempts()]
    assert {claim["host"] for claim in claims} == {"n2"}


def test_a_launcher_killed_between_sbatch_and_the_note_of_it(make_site: MakeSite) -> None:
    site = make_site(trials=3, jobs=2)
    script = (
        "import os, sys; from submitit.core import utils; from sweeps.cli.main import main\n"
        "utils.JobPaths.move_temporary_file = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "sys.argv[1:] = ['run', 'tiny.toml', '--cluster', 'testbed', '--no-watch']; main()"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=site.folder, timeout=60)
    assert killed.returncode == -9
    lost = {number.partition("_")[0] for number, *_ in site.testbed.queue()}
    assert len(lost) == 1
    site.let_a_minute_pass()
    sweep = site.start()
    assert {number.partition("_")[0] for number, *_ in site.testbed.queue()}.isdisjoint(
        lost
        - {n.partition("_")[0] for n, state, *_ in site.testbed.queue() if state == "COMPLETING"}
    )
    site.finish(sweep)
    assert len(sweep.paths.jobs()) == 2


def test_doctor_looks_from_here_and_from_a_job(make_site: MakeSite) -> None:
    site = make_site(trials=2)
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    promised = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed", check=False)
    assert promised.returncode == 1  # the GPUs are pretended ones: torch sees none
    bad = [line for line in promised.stdout.splitlines() if line.startswith("✗")]
    assert len(bad) == 1, promised.stdout + promised.stderr
    assert re.search(r"✗ Python and torch in a job: .* no CUDA device \(SLURM gave \d\)", bad[0])
    file.write_text(file.read_text().replace('gres = "gpu:1"\ngpus = 1\n', ""))
    said = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed").stdout
    assert "✗" not in said
    for what in ("SLURM's commands", "cluster file", "a job", "data in a job", "clocks"):
        assert f"✓ {what}: " in said
    assert list((site.folder / "runs").glob(".doctor*")) == []
    file.write_text(file.read_text().replace('account = "comp3710"\n', ""))
    ended = site.sweeps("doctor", "tiny.toml", "--cluster", "testbed", check=False)
    assert "✗ cluster file: " in ended.stdout
    assert 'give account = "comp3710"' in ended.stdout
