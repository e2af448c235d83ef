import pytest

from sweeps.config.cluster import Cluster, parse_minutes, workers_and_threads
from sweeps.jobs.launcher import required_jobs
from sweeps.jobs.slurm.time_limit import margin_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        ("30:00", 30),
        ("30:01", 31),
        ("12:00:00", 720),
        ("1-12", 36 * 60),
        ("1-12:30", 36 * 60 + 30),
        ("7-00:00:00", 7 * 1440),
        ("0:00:30", 1),
    ],
)
def test_times_are_read_as_slurm_reads_them(text: str, expected: int) -> None:
    assert parse_minutes(text) == expected


@pytest.mark.parametrize("text", ["", "an hour", "1:2:3:4", "-5", "1-", "12h"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid time; write minutes"):
        parse_minutes(text)


def test_a_time_limit_below_two_minutes_is_refused() -> None:
    with pytest.raises(ValueError, match="too short for a job; write at least two minutes"):
        Cluster(time_limit="1")


def test_the_last_epoch_must_end_before_the_job_does() -> None:
    assert margin_seconds(12 * 3600) == 60
    assert margin_seconds(120) == 15


def test_one_trial_per_job_means_as_many_jobs_as_trials() -> None:
    assert required_jobs(Cluster(scheduler="slurm", jobs=4), 60) == 4
    assert required_jobs(Cluster(scheduler="slurm", jobs=4, trials_per_job=1), 60) == 60
    assert required_jobs(Cluster(scheduler="slurm", workers=2, trials_per_job=2), 9) == 3
    assert required_jobs(Cluster(scheduler="slurm", trials_per_job=1), 5000) == 500


def test_a_jobs_cores_are_divided_among_its_workers() -> None:
    assert workers_and_threads(Cluster(scheduler="slurm", gpus=1, cpus=4)) == (1, 4)
    assert workers_and_threads(Cluster(scheduler="slurm", gpus=1, cpus=4, workers=2)) == (2, 2)
    assert workers_and_threads(Cluster(workers=3, threads=5)) == (3, 5)
