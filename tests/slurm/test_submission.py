"""What sbatch is told on a real SLURM, whatever the environment of a person sets."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.slurm.conftest import MakeSite, epochs, wait_for
from tests.slurm.test_requeue import finish, start_sweep


def test_variables_of_sbatch_change_nothing(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SBATCH_WAIT would keep the launcher, EXPORT=NONE hide the project from the job."""
    site = make_site(partition="slots", trials=2)
    for name, value in {
        "SBATCH_WAIT": "1",
        "SBATCH_EXPORT": "NONE",
        "SBATCH_ARRAY_INX": "5-6",
        "SBATCH_MEM_PER_NODE": "4G",
        "SBATCH_PARTITION": "comp3710-test",
    }.items():
        monkeypatch.setenv(name, value)
    sweep = site.start()
    site.finish(sweep)
    file = next(sweep.paths.scheduler_logs.glob("*_submission.sh"))
    assert "#SBATCH --partition=slots" in file.read_text()
    plan = site.sweeps("plan", "tiny.toml", "--cluster", "testbed", "--trials", "3").stdout
    assert "not used for this sweep: SBATCH_ARRAY_INX, SBATCH_EXPORT" in plan


def test_a_partition_of_the_environment_is_used_where_the_file_names_none(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(partition="slots", trials=1)
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    file.write_text(file.read_text().replace('partition = "slots"\n', ""))
    monkeypatch.setenv("SBATCH_PARTITION", "comp3710")
    sweep = site.start()
    assert set(site.testbed.call("squeue", "-h", "-o%P").split()) == {"comp3710"}
    site.finish(sweep)


def test_a_wall_time_that_the_qos_forbids_is_told_by_its_name(make_site: MakeSite) -> None:
    site = make_site(partition="slots", time_limit="50")
    call = site.testbed.call
    call("sacctmgr", "-i", "add", "qos", "short", "set", "flags=DenyOnLimit", "maxwall=5")
    call("sacctmgr", "-i", "modify", "user", "root", "set", "qos+=short")
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    file.write_text(file.read_text().replace("cpus = 2", 'cpus = 2\nqos = "short"'))
    ended = site.sweeps("run", "tiny.toml", "--cluster", "testbed", "--no-watch", check=False)
    assert ended.returncode == 2
    assert "time_limit is longer than the qos allows" in ended.stderr
    assert "as many jobs" not in ended.stderr


def test_a_job_whose_python_lacks_slurms_commands_is_requeued_by_its_script(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """As in a container: the task cannot run scontrol, the script around it can."""
    contained = tmp_path / "contained"
    contained.write_text(f'#!/bin/bash\nPATH=/nowhere exec {sys.executable} "$@"\n')
    contained.chmod(0o755)
    site = make_site(partition="slots", jobs=1, trials=3, epochs=12, gate_at=3, pruner="none")
    file = site.folder / "experiments" / "clusters" / "testbed.toml"
    text = file.read_text().replace("cpus = 2", f'cpus = 2\npython = "{contained}"')
    file.write_text(text)
    sweep = site.start()
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    warn_of_the_time_limit()
    (sweep.paths.folder / "open").touch()
    wait_for(lambda: "this job requeues itself" in site.log(), site.log)
    finish(site, sweep, lost=0)
    assert "Restarts=1" in site.testbed.call("scontrol", "show", "job")


def test_stop_cancels_the_jobs_that_wait(make_site: MakeSite) -> None:
    site = make_site(trials=6, jobs=3, gate_at=2)
    sweep = site.start()
    wait_for(lambda: epochs(sweep) >= 1, site.log)
    site.let_a_minute_pass()
    output = site.sweeps("stop", "tiny").stdout
    assert "cancelled 2 pending jobs" in output
    (sweep.paths.folder / "open").touch()
    wait_for(lambda: not site.testbed.queue(), site.log)
    site.let_a_minute_pass()
    site.start()
    site.finish(sweep)


def test_munge_away_while_a_job_requeues_itself(make_site: MakeSite) -> None:
    site, sweep = start_sweep(make_site, jobs=1, gate_at=5)
    wait_for((sweep.paths.folder / "waiting").exists, site.log)
    site.testbed.act("stop", "munged")
    try:
        warn_of_the_time_limit()
        (sweep.paths.folder / "open").touch()
        wait_for(lambda: "trying again" in site.log(), site.log)
    finally:
        site.testbed.act("start", "munged")
    finish(site, sweep, lost=0)


def warn_of_the_time_limit() -> None:
    """Send the supervisors of this cluster the signal that SLURM sends before a job's end."""
    variable = f"SLURM_CONF={os.environ['SLURM_CONF']}"
    for process in processes_with(variable, "submitit.core._submit"):
        os.kill(process, signal.SIGUSR2)


def processes_with(variable: str, argument: str) -> list[int]:
    """Return the processes with a variable in their environment and an argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_text(errors="replace").split("\0")
            arguments = (folder / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if variable in environment and argument in arguments and "srun" not in arguments:
            found.append(int(folder.name))
    return found
