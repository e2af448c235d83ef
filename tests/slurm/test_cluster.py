"""The test cluster itself: it must end with the process that started it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, why_not
from tests.slurm.conftest import ROOT, wait_for


def test_the_cluster_ends_when_the_process_that_started_it_is_killed() -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    script = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'tests.slurm.cluster', sys.argv[1]]\n"
        "pipe = subprocess.PIPE\n"
        "keeper = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)\n"
        "print(keeper.stdout.readline(), end='', flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert starter.stdout.readline() == "ready\n"
    cluster = Cluster(folder)
    cluster.call("sbatch", "--partition=slots", "--output=/dev/null", "--wrap=sleep 600")
    wait_for(lambda: "RUNNING" in cluster.call("squeue", "-h", "-o%T"))
    assert len(cluster.processes()) >= 7  # the daemons, slurmstepd, and the job
    starter.kill()
    starter.communicate()
    wait_for(lambda: not cluster.processes())
    wait_for(lambda: not folder.exists())
