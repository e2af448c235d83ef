"""Submission through submitit, with an sbatch that the test writes."""

import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import InputError
from sweeps.jobs.launcher import submit_missing
from sweeps.jobs.slurm.submission_environment import (
    cleared_environment,
    environment_notes,
    submission_environment,
    with_site_defaults,
)
from sweeps.jobs.submit import (
    ArrayTooLargeError,
    TooManyJobsError,
    submission_text,
    submit_tasks,
)
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.jobs.slurm.answers import queue_line

SLURM = Cluster(scheduler="slurm", jobs=5, cpus=2)
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
MakeCommand = Callable[[str, str], Path]


@pytest.fixture
def slurm_sweep(make_sweep: MakeSweep, command: MakeCommand) -> Sweep:
    for name in ("srun", "scancel", "scontrol"):
        command(name, "")
    command("squeue", "")
    return make_sweep(cluster=SLURM)


def refusal(message: str) -> str:
    return f'echo "{message}" >&2; exit 1'


def test_a_banner_with_a_number_does_not_name_the_jobs(
    slurm_sweep: Sweep, command: MakeCommand
) -> None:
    command("sbatch", "echo This job 1000 credits; echo Submitted batch job 42")
    assert submit_missing(slurm_sweep) == [f"42_{index}" for index in range(5)]
    pickles = slurm_sweep.paths.scheduler_logs.glob("42_*_submitted.pkl")
    assert len(list(pickles)) == 5


def test_a_number_that_sbatch_does_not_print_is_found_by_the_comment(
    slurm_sweep: Sweep, command: MakeCommand, tmp_path: Path
) -> None:
    command("sbatch", f"sed -n 's/^#SBATCH --comment=//p' \"$1\" > {tmp_path}/comment; echo Thanks")
    line = queue_line("42_[0-4]", "PENDING", comment=f"$(cat {tmp_path}/comment)")
    command("squeue", f'echo "{line}"')
    assert submit_missing(slurm_sweep)[0] == "42_0"


@pytest.mark.parametrize(
    ("reason", "released"),
    [("launch failed requeued held", True), ("JobHeldUser", False), ("JobHeldAdmin", False)],
)
def test_a_job_that_a_node_failed_to_start_is_released(
    slurm_sweep: Sweep, command: MakeCommand, tmp_path: Path, reason: str, released: bool
) -> None:
    """SLURM holds it until somebody does so. What a person or the site holds stays held."""
    command("sbatch", f"sed -n 's/^#SBATCH --comment=//p' \"$1\" > {tmp_path}/comment; echo 42")
    command("scontrol", f'echo "$*" >> {tmp_path}/commands')
    submit_missing(slurm_sweep)
    comment = (tmp_path / "comment").read_text().strip()
    line = queue_line("42_[0-4]", "PENDING", node="", reason=reason, comment=comment)
    command("squeue", f'echo "{line}"')
    assert submit_missing(slurm_sweep) == []
    commands = (tmp_path / "commands").read_text() if (tmp_path / "commands").exists() else ""
    assert commands == ("release 42_0,42_1,42_2,42_3,42_4\n" if released else "")


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (f"sbatch: error: {POLICY}", TooManyJobsError, "does not name the limit"),
        (
            f"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: {POLICY}",
            TooManyJobsError,
            "as many jobs as the site allows",
        ),
        (
            f"sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: {POLICY}",
            InputError,
            "time_limit is longer than the qos allows",
        ),
        (
            f"sbatch: error: AssocMaxCpuPerJobLimit\nsbatch: error: {POLICY}",
            InputError,
            "AssocMaxCpuPerJobLimit",
        ),
        ("sbatch: error: Invalid job array specification", ArrayTooLargeError, "array"),
    ],
)
def test_the_limit_that_slurm_names_is_told(
    slurm_sweep: Sweep, command: MakeCommand, message: str, error: type[Exception], words: str
) -> None:
    command("sbatch", refusal(message))
    with pytest.raises(error, match=words) as found:
        submit_tasks(slurm_sweep.paths, SLURM, "x", [print, print])
    assert type(found.value) is error


def test_arrays_are_as_large_as_the_site_allows(
    slurm_sweep: Sweep, command: MakeCommand, tmp_path: Path
) -> None:
    """At most three jobs in an array; more arrays only while more jobs may run at once."""
    command(
        "sbatch",
        f'if grep -qE "array=0-([3-9]|[0-9]{{2}})" "$1"; then '
        f"{refusal('sbatch: error: Invalid job array specification')}; fi; "
        f"echo x >> {tmp_path}/submitted; "
        f"grep -o 'array=.*' \"$1\" >> {tmp_path}/arrays; "
        f"echo Submitted batch job $(wc -l < {tmp_path}/submitted)",
    )
    assert submit_missing(slurm_sweep) == ["1_0", "1_1"]
    more = slurm_sweep.plan.cluster.model_copy(update={"jobs": 9, "max_running_jobs": 6})
    submit_missing(Sweep(slurm_sweep.paths, replace(slurm_sweep.plan, cluster=more)))
    assert (tmp_path / "arrays").read_text().split() == [
        "array=0-1%1",
        "array=0-2%3",
        "array=0-2%3",
    ]


def test_no_small_array_is_sent_beside_as_many_jobs_as_may_run(
    slurm_sweep: Sweep, command: MakeCommand
) -> None:
    command(
        "sbatch",
        'if grep -qE "array=0-([3-9]|[0-9]{2})" "$1"; then '
        f"{refusal('sbatch: error: Invalid job array specification')}; fi; "
        "echo Submitted batch job 1",
    )
    changes = {"jobs": 3, "max_running_jobs": 3}
    plan = replace(slurm_sweep.plan, cluster=SLURM.model_copy(update=changes))
    assert len(submit_missing(Sweep(slurm_sweep.paths, plan))) == 3
    plan = replace(plan, cluster=SLURM.model_copy(update=changes | {"jobs": 12}))
    assert submit_missing(Sweep(slurm_sweep.paths, plan)) == []


def test_variables_that_change_a_submission_are_cleared_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SBATCH_WAIT", "SBATCH_EXPORT", "SBATCH_ARRAY_INX", "SBATCH_CLUSTERS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SBATCH_PARTITION", "night")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    monkeypatch.setenv("SBATCH_RESERVATION", "course")
    cluster = Cluster(scheduler="slurm", partition="day")
    with cleared_environment():
        left = {name for name in os.environ if name.startswith("SBATCH_")}
        assert left == {"SBATCH_RESERVATION"}
    assert os.environ["SBATCH_WAIT"] == "1"
    assert "SBATCH_WAIT" not in submission_environment()
    filled = with_site_defaults(cluster)
    assert (filled.partition, filled.account) == ("day", "mine")
    assert environment_notes(cluster) == [
        "used from the environment: SBATCH_ACCOUNT=mine, SBATCH_RESERVATION=course",
        "set in the environment, and not used for this sweep: "
        "SBATCH_ARRAY_INX, SBATCH_CLUSTERS, SBATCH_EXPORT, SBATCH_PARTITION, SBATCH_WAIT",
    ]
    assert environment_notes(Cluster()) == []


def test_the_variables_of_a_surrounding_job_are_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "4096")
    assert "SLURM_MEM_PER_NODE" in submission_environment()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    environment = submission_environment()
    assert "SLURM_CONF" in environment
    assert not {"SLURM_JOB_ID", "SLURM_MEM_PER_NODE"} & set(environment)


def test_sbatch_sees_no_variable_that_was_cleared(
    slurm_sweep: Sweep, command: MakeCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_WAIT", "1")
    monkeypatch.setenv("SBATCH_QOS", "night")
    command(
        "sbatch",
        f'env > {tmp_path}/environment; cp "$1" {tmp_path}/file; echo Submitted batch job 1',
    )
    submit_missing(slurm_sweep)
    assert "SBATCH_" not in (tmp_path / "environment").read_text()
    assert "#SBATCH --qos=night" in (tmp_path / "file").read_text()


def test_the_step_gets_the_cores_of_the_job(make_sweep: MakeSweep, command: MakeCommand) -> None:
    command("srun", "")
    text = submission_text(make_sweep().paths, SLURM)
    assert "#SBATCH --cpus-per-task=2" in text
    assert " --cpus-per-task=2 " in next(x for x in text.splitlines() if x.startswith("srun"))


def test_python_of_the_cluster_file_starts_the_task(
    make_sweep: MakeSweep, command: MakeCommand
) -> None:
    command("srun", "")
    python = "apptainer exec --nv '/shared/an image.sif' python3"
    text = submission_text(make_sweep().paths, SLURM.model_copy(update={"python": python}))
    assert f" {python} -u -m submitit.core._submit " in text
    assert "scontrol requeue" in text
    assert "scontrol requeue" not in submission_text(make_sweep().paths, SLURM)


def test_the_script_requeues_a_job_whose_task_asked_for_it(
    make_sweep: MakeSweep, command: MakeCommand, tmp_path: Path
) -> None:
    """The lines of the script as bash runs them, with a task that asks, or does not."""
    paths = make_sweep().paths
    command("srun", "")
    command("scontrol", f'echo "$*" >> {tmp_path}/asked')
    command("squeue", "echo Welcome; echo RUNNING")
    text = submission_text(paths, SLURM.model_copy(update={"python": "true"}))
    lines = [line for line in text.splitlines() if not line.startswith("srun")]
    job = SweepPaths(paths.folder).job("a-submission-3")
    job.folder.mkdir(parents=True)
    asking = f"touch {job.requeue}"
    for task, number in ((":", None), (asking, "requeue 12_3"), (":", None)):
        script = tmp_path / "script.sh"
        script.write_text("\n".join([*lines, task]) + "\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "asked").unlink(missing_ok=True)
        environment = os.environ | {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
        subprocess.run(["bash", script], env=environment, check=True)
        asked = (tmp_path / "asked").read_text().strip() if (tmp_path / "asked").exists() else None
        assert asked == number


def test_the_script_waits_for_slurm_and_leaves_a_cancelled_job(
    make_sweep: MakeSweep, command: MakeCommand, tmp_path: Path
) -> None:
    paths = make_sweep().paths
    command("srun", "")
    command("sleep", "")
    asked = command("scontrol", f"rm {tmp_path}/away 2> /dev/null && exit 1; exit 0")
    text = submission_text(paths, SLURM.model_copy(update={"python": "true"}))
    lines = [line for line in text.splitlines() if not line.startswith("srun")]
    job = SweepPaths(paths.folder).job("a-submission-0")
    job.folder.mkdir(parents=True)
    script = tmp_path / "script.sh"
    script.write_text("\n".join([*lines, f"touch {job.requeue}"]) + "\n")
    environment = os.environ | {"SLURM_JOB_ID": "12"}
    for state, times in (("COMPLETING", 0), ("RUNNING", 2)):
        (tmp_path / "away").touch()
        (tmp_path / "no answer").touch()
        command("squeue", f"rm '{tmp_path}/no answer' 2> /dev/null && exit 1; echo {state}")
        asked.write_text("")
        subprocess.run(["bash", script], env=environment, check=True)
        assert asked.read_text().count("called") == times
