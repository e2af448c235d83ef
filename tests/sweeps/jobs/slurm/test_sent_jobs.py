"""The number of what sbatch accepted, with commands that the tests write."""

from pathlib import Path

import pytest
import submitit

from sweeps.config.cluster import Cluster
from sweeps.jobs.slurm.commands import SlurmUnavailableError
from sweeps.jobs.submit import submit_tasks
from sweeps.storage.job_record import JobRecord
from sweeps.storage.paths import SweepPaths
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.jobs.slurm.answers import queue_line
from tests.sweeps.jobs.slurm.conftest import WriteCommand

COMMENT = "20261201-053114-0a1b2c"
BANNER = "echo 'This job 1000 credits will cost you'\n"


def task() -> None:
    """Do nothing: no job is started here."""


@pytest.fixture
def paths(make_sweep: MakeSweep, command: WriteCommand) -> SweepPaths:
    command("srun", "")
    return make_sweep().paths


def submit(paths: SweepPaths, count: int = 2) -> list[JobRecord]:
    return submit_tasks(paths, Cluster(scheduler="slurm"), COMMENT, [task] * count)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (BANNER + "echo 'Submitted batch job 7'", "testbed"),
        (BANNER + "echo 'Submitted batch job 7 on cluster second'", "second"),
        ("echo '7;second'", "second"),
        ("echo 7", "testbed"),
    ],
)
def test_the_number_and_the_cluster_come_from_sbatchs_own_sentence(
    paths: SweepPaths,
    command: WriteCommand,
    answer: str,
    name: str,
) -> None:
    reader = submitit.SlurmExecutor._get_job_id_from_submission_command
    command("sbatch", answer)
    assert [(r.id, r.cluster) for r in submit(paths)] == [("7_0", name), ("7_1", name)]
    assert [(r.id, r.cluster) for r in submit(paths, 1)] == [("7", name)]
    pickles = {path.name for path in paths.scheduler_logs.glob("*_submitted.pkl")}
    assert pickles >= {"7_0_submitted.pkl", "7_1_submitted.pkl"}  # where the jobs look for them
    assert submitit.SlurmExecutor._get_job_id_from_submission_command is reader


@pytest.mark.parametrize("comment", [COMMENT, f"{COMMENT} [seen by the site]", ""])
def test_what_was_sent_without_a_number_is_found_again_in_the_queue(
    paths: SweepPaths,
    command: WriteCommand,
    tmp_path: Path,
    comment: str,
) -> None:
    """By its comment; at a site that rewrites comments by its name and its submit time."""
    command("sbatch", f"{BANNER}touch {tmp_path}/sent; echo 'All right!'")
    sent = "\n".join(
        queue_line(number, "PENDING", submitted="$now", comment=comment, name=f"sweep-{paths.name}")
        for number in ("8_0", "8_1")
    )
    other = queue_line("6_0", comment="20270101-000000-ffffff", name=f"sweep-{paths.name}")
    earlier = queue_line("5", comment="", name=f"sweep-{paths.name}")
    script = f"now=$(date -u +%FT%T)\necho '{other}'\necho '{earlier}'\n"
    command("squeue", f'{script}[ -e {tmp_path}/sent ] && echo "{sent}"')
    assert [record.id for record in submit(paths)] == ["8_0", "8_1"]


def test_what_cannot_be_found_may_be_in_the_queue_all_the_same(
    paths: SweepPaths,
    command: WriteCommand,
) -> None:
    """So the launcher keeps the jobs' folders, by which the next one finds and cancels them."""
    command("sbatch", BANNER)
    command("squeue", "")
    with pytest.raises(SlurmUnavailableError, match="no number of a job: 'This job 1000 credits"):
        submit(paths)
    command("squeue", "echo 'Connection refused' >&2; exit 1")
    paths.slurm.queries.unlink()
    with pytest.raises(SlurmUnavailableError, match="Connection refused"):
        submit(paths)
