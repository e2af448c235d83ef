"""Whole sweeps under the rules of the site."""

from collections import Counter

from sweeps import files
from tests.slurm.conftest import MakeSite, hosts_of
from tests.sweeps.test_crashes import check_computed


def test_one_job_a_user_is_enough_with_two_workers_on_its_gpu(make_site: MakeSite) -> None:
    site = make_site(jobs=2, workers=2, trials=12, epochs=9, seconds=0.1)
    sweep = site.start()
    site.finish(sweep)
    check_computed(sweep, lost=0)
    claims = [files.read_json(trial.attempts()[0].claim) for trial in sweep.paths.trials()]
    assert len({claim["job"] for claim in claims}) == 1
    assert len({claim["pid"] for claim in claims}) == 2
    assert all(job.ended.exists() for job in sweep.paths.jobs())


def test_one_job_a_trial_on_four_slots(make_site: MakeSite) -> None:
    site = make_site(partition="slots", at_once=4, trials_per_job=1, trials=8, seconds=0.2)
    sweep = site.start()
    site.finish(sweep)
    check_computed(sweep, lost=0)
    jobs = Counter(
        files.read_json(trial.attempts()[0].claim)["job"] for trial in sweep.paths.trials()
    )
    assert set(jobs.values()) == {1}
    assert len(jobs) == 8
    hosts = {host for trial in sweep.paths.trials() for host in hosts_of(trial)}
    assert hosts == {"n1", "n2"}
