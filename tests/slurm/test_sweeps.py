"""Whole sweeps under the rules of a site."""

import re
from collections import Counter

import pytest

from sweeps.filesystem import atomic
from sweeps.storage.job_record import read_job_record
from sweeps.storage.trial_record import read_curve, read_result
from tests.slurm.conftest import ROOT, MakeSite, Testbed, hosts_of, wait_for
from tests.sweeps.workers.test_crashes import check_computed


@pytest.mark.sites("rangpur", "bare", "limited")
def test_one_running_job_with_two_workers_on_its_gpu_is_enough(make_site: MakeSite) -> None:
    site = make_site(jobs=2, workers=2, trials=12, epochs=9, seconds=0.1)
    sweep = site.start()
    site.finish(sweep)
    check_computed(sweep, lost=0)
    claims = [atomic.read_json(trial.attempts()[0].claim) for trial in sweep.paths.trials()]
    assert len({claim["job"] for claim in claims}) == 1
    assert len({claim["pid"] for claim in claims}) == 2
    assert all(job.ended.exists() for job in sweep.paths.jobs())


@pytest.mark.sites("rangpur", "bare")
def test_one_job_per_trial_with_four_running_jobs(make_site: MakeSite, testbed: Testbed) -> None:
    """Eight jobs in an array; on the bare site, where one has three at most, jobs requeue."""
    site = make_site(partition="slots", max_running_jobs=4, trials_per_job=1, trials=8, seconds=0.2)
    sweep = site.start()

    def is_over() -> bool:
        site.testbed.shorten_requeue_delay()
        return sweep.is_over()

    wait_for(is_over, site.log)
    site.finish(sweep)
    check_computed(sweep, lost=0)
    assert len(sweep.paths.jobs()) == {"rangpur": 8, "bare": 4}[testbed.rules.name]
    if testbed.rules.name == "rangpur":
        claims = (atomic.read_json(t.attempts()[0].claim)["job"] for t in sweep.paths.trials())
        assert set(Counter(claims).values()) == {1}
        hosts = {host for trial in sweep.paths.trials() for host in hosts_of(trial)}
        assert hosts == {"n1", "n2"}


FEW = {"rangpur": "few", "limited": "slots"}
"""The partition of a site in which a user may have few jobs."""


@pytest.mark.sites("rangpur", "limited")
def test_a_site_that_allows_a_user_few_jobs(make_site: MakeSite, testbed: Testbed) -> None:
    """Fewer jobs than trials are submitted; they requeue themselves until all trials have ended."""
    few = FEW[testbed.rules.name]
    site = make_site(partition=few, max_running_jobs=4, trials_per_job=1, trials=5, pruner="none")
    sweep = site.start()
    allowed = {"rangpur": 2, "limited": 1}  # of five, then two, then one
    assert len(sweep.paths.jobs()) == allowed[testbed.rules.name]
    assert sweep.paths.unrecorded_jobs() == []

    def is_over() -> bool:
        site.testbed.shorten_requeue_delay()
        return sweep.is_over()

    wait_for(is_over, site.log)
    site.finish(sweep)
    check_computed(sweep, lost=0)


@pytest.mark.sites("rangpur", "limited")
def test_a_user_who_has_as_many_jobs_as_the_site_allows(
    make_site: MakeSite, testbed: Testbed
) -> None:
    few = FEW[testbed.rules.name]
    site = make_site(partition=few, trials=3)
    tasks = {"rangpur": "1-3", "limited": "1"}[testbed.rules.name]
    site.testbed.call(
        "sbatch", f"--array={tasks}", f"--partition={few}", "--time=10",
        "--output=/dev/null", "--wrap=sleep 600",
    )  # fmt: skip
    ended = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", check=False)
    assert ended.returncode == 1
    assert "you have as many jobs as the site allows" in ended.stderr
    assert "QOSMaxSubmitJobPerUserLimit" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (site.folder / "runs" / "tiny").exists()


@pytest.mark.sites("rangpur", "bare", "limited")
def test_the_jobs_that_are_recorded_are_those_in_the_queue(make_site: MakeSite) -> None:
    site = make_site(trials=2, jobs=2, gate_at=1)
    sweep = site.start()
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    queued = {number for number, *_ in site.testbed.queue()}
    assert {read_job_record(job).id for job in sweep.paths.jobs()} == queued
    site.let_a_minute_pass()
    output = " ".join(site.sweeps("status").stdout.split())
    assert re.search(r"job \d+(_\d)? runs on n\d", output)
    (sweep.paths.folder / "open").touch()
    site.finish(sweep)


@pytest.mark.sites("rangpur", "bare", "limited")
def test_a_sweep_that_is_extended(make_site: MakeSite) -> None:
    """The second run finds no job of the first one left, and sends new ones."""
    site = make_site(trials=2)
    sweep = site.start()
    wait_for(sweep.is_over, site.log)
    wait_for(site.is_idle, site.log)
    site.let_a_minute_pass()
    site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", "--trials", "3")
    site.finish(site.sweep())
    assert len(site.sweep().paths.trials()) == 3


@pytest.mark.sites("bare")
def test_a_partition_that_is_hidden(make_site: MakeSite) -> None:
    site = make_site(partition="hidden", trials=2)
    site.finish(site.start())


@pytest.mark.sites("limited")
def test_a_time_limit_beyond_that_of_the_qos(make_site: MakeSite) -> None:
    site = make_site(time_limit="50", trials=2)
    ended = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", check=False)
    assert ended.returncode == 2
    assert "QOSMaxWallDurationPerJobLimit" in ended.stderr
    assert "time_limit" in ended.stderr
    assert "as many jobs" not in ended.stderr
    assert not (site.folder / "runs" / "tiny").exists()


def test_the_quickstart_of_the_vq_vae(make_site: MakeSite) -> None:
    """The shipped experiment with smaller slices and fewer epochs; two workers, one job, no GPU."""
    site = make_site(workers=2)
    text = (ROOT / "experiments" / "quickstart.toml").read_text()
    smaller = {
        "train_patients = 8": "train_patients = 3",
        "slices = 14": "slices = 4",
        "height = 128": "height = 64",
        "width = 64": "width = 32",
        "epochs = 9": "epochs = 4",
        "[8, 16, 32]": "[4, 8]",
    }
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    (site.folder / "quickstart.toml").write_text(text)
    clusters = site.folder / "experiments" / "clusters" / "testbed.toml"
    clusters.write_text(clusters.read_text().replace('gres = "gpu:1"\ngpus = 1\n', ""))
    sweep = site.start("quickstart")
    wait_for(sweep.is_over, site.log)
    wait_for(site.is_idle, site.log)
    assert len(sweep.paths.trials()) == 12
    for trial in sweep.paths.trials():
        rows = read_curve(trial)
        assert [row.epoch for row in rows] == list(range(1, read_result(trial).epochs + 1))
        assert len(trial.attempts()) == 1
    assert len({atomic.read_json(t.attempts()[0].claim)["job"] for t in sweep.paths.trials()}) == 1
    published = site.sweeps("sync", "quickstart").stdout
    assert "writing the results of quickstart to MLflow" in published
