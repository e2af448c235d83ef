"""Sweeps that are longer than their jobs, and jobs that end before their time limit."""

import time

import pytest

from sweeps.filesystem import atomic
from sweeps.storage.sweep import Sweep
from tests.slurm.conftest import MakeSite, Site, epochs, hosts_of, wait_for
from tests.sweeps.workers.test_crashes import check_computed


@pytest.mark.slow
def test_a_sweep_longer_than_its_jobs_ends_without_a_watcher(make_site: MakeSite) -> None:
    """Two jobs of two minutes, for twelve minutes of a worker, requeue themselves in turn.

    The first time they wait for SLURM's own delay, then for a shortened one.
    """
    site = make_site(
        partition="comp3710-test",
        time_limit="2",
        jobs=2,
        workers=2,
        trials=13,
        epochs=36,
        seconds=1.5,
        pruner="none",
    )
    sweep = site.start()
    wait_for(lambda: site.log().count("this job requeues itself") == 2, site.log)
    wait_for(site.testbed.running, site.log)
    site.wait_until_over(sweep)
    site.finish(sweep)
    check_computed(sweep, lost=0)
    assert epochs(sweep) == 13 * 36
    assert site.log().count("this job requeues itself") >= 3
    assert "scontrol:" not in site.log()  # no requeue failed


def start_sweep(make_site: MakeSite, **settings: object) -> tuple[Site, Sweep]:
    """Start a sweep of about twenty seconds of work for one worker; wait for a few epochs."""
    defaults = {"partition": "slots", "trials": 3, "epochs": 12, "seconds": 0.5, "pruner": "none"}
    site = make_site(**defaults | settings)
    sweep = site.start()
    wait_for(lambda: epochs(sweep) >= 4, site.log)
    return site, sweep


def finish(site: Site, sweep: Sweep, *, lost: int) -> None:
    """Wait until the sweep is over, with a shortened requeue delay; then check all its records."""
    site.wait_until_over(sweep)
    site.finish(sweep)
    check_computed(sweep, lost=lost)
    assert epochs(sweep) == sweep.experiment.trials * 12


@pytest.mark.sites("rangpur", "bare", "limited")
def test_requeued_by_hand(make_site: MakeSite) -> None:
    site, sweep = start_sweep(make_site)
    site.testbed.call("scontrol", "requeue", site.testbed.running()[0])
    finish(site, sweep, lost=1)
    assert any(len(trial.attempts()) > 1 for trial in sweep.paths.trials())


@pytest.mark.parametrize("grace", [0, 30])
def test_preempted_by_a_higher_qos(make_site: MakeSite, grace: int) -> None:
    """With a grace time SLURM does not requeue a job that ends by itself, so the job must do it."""
    site, sweep = start_sweep(make_site)
    site.testbed.call("sacctmgr", "-i", "modify", "qos", "normal", "set", f"gracetime={grace}")
    site.testbed.call(
        "sbatch", "--qos=urgent", "--partition=slots", "--exclusive", "--nodes=2", "--time=1",
        "--output=/dev/null", "--wrap=sleep 5",
    )  # fmt: skip
    wait_for(lambda: any(job[3] == "BeginTime" for job in site.testbed.queue()), site.log)
    assert ("this job requeues itself" in site.log()) == (grace > 0)
    finish(site, sweep, lost=0 if grace else 1)


@pytest.mark.sites("bare")
def test_preempted_by_a_partition_that_cancels_with_a_grace_time(make_site: MakeSite) -> None:
    """SLURM does not start the job again, and leaves it 30 seconds, in which it requeues itself."""
    site, sweep = start_sweep(make_site)
    site.testbed.call(
        "sbatch", "--partition=urgent", "--exclusive", "--nodes=2", "--time=1",
        "--output=/dev/null", "--wrap=sleep 5",
    )  # fmt: skip
    wait_for(lambda: "this job requeues itself" in site.log(), site.log)
    finish(site, sweep, lost=0)


@pytest.mark.sites("rangpur", "bare")
def test_one_task_cancelled(make_site: MakeSite) -> None:
    site, sweep = start_sweep(make_site, jobs=2)
    cancelled = site.testbed.running()[0]
    site.testbed.call("scancel", cancelled)
    finish(site, sweep, lost=1)
    jobs = {atomic.read_json(a.claim)["job"] for t in sweep.paths.trials() for a in t.attempts()}
    assert len(jobs) == 2  # the pending job continued; the cancelled job was not requeued


@pytest.mark.sites("rangpur", "bare")
def test_a_node_that_is_lost(make_site: MakeSite) -> None:
    site, sweep = start_sweep(make_site, max_running_jobs=2)
    node = hosts_of(sweep.paths.trials()[0])[0]
    site.testbed.act("lose", node)
    try:
        finish(site, sweep, lost=2)
    finally:
        site.testbed.act("start", f"slurmd-{node}")
        wait_for(lambda: "down" not in site.testbed.call("sinfo", "-h", "-N", "-o%T"))
    assert any(set(hosts_of(trial)) == {"n1", "n2"} for trial in sweep.paths.trials())


def test_a_node_that_runs_but_cannot_be_reached(make_site: MakeSite) -> None:
    """SLURM treats it as lost and starts its job on another node, while the first run continues."""
    site, sweep = start_sweep(make_site, jobs=1, gate_at=5)
    node = hosts_of(sweep.paths.trials()[0])[0]

    def has_two_runs() -> bool:
        site.testbed.shorten_requeue_delay()
        return claiming_nodes(sweep) == {"n1", "n2"}

    site.testbed.act("kill", f"slurmd-{node}")
    try:
        wait_for(has_two_runs, site.log)
        (sweep.paths.folder / "open").touch()
        finish(site, sweep, lost=0)
    finally:
        site.testbed.act("start", f"slurmd-{node}")
        wait_for(lambda: "down" not in site.testbed.call("sinfo", "-h", "-N", "-o%T"))


def claiming_nodes(sweep: Sweep) -> set[str]:
    return {host for trial in sweep.paths.trials() for host in hosts_of(trial)}


@pytest.mark.slow
def test_a_controller_that_is_unavailable_for_a_minute(make_site: MakeSite) -> None:
    site, sweep = start_sweep(make_site, jobs=1)
    site.testbed.act("stop", "slurmctld")
    before = epochs(sweep)
    time.sleep(60)  # the work ends in this time; the controller receives that afterwards
    assert epochs(sweep) > before
    site.testbed.act("start", "slurmctld")
    finish(site, sweep, lost=0)
