"""`make slurm-testbed`: a test cluster with a shell; it ends with the shell."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import why_not
from tests.slurm.conftest import CLUSTER, ROOT
from tests.sweeps.conftest import EXPERIMENT

HINTS = """
This shell has its own SLURM cluster with Rangpur's rules: two nodes with two simulated GPUs each,
one running job per user, and a required account. The cluster ends with the shell (exit). Try:

  sinfo                                       show the partitions and nodes
  sweeps run tiny.toml --cluster testbed      a sweep of some minutes; it continues after Ctrl-C
  sweeps status                               which jobs run, which are pending, and why
  squeue --me                                 the same from SLURM
  scontrol requeue JOB_ID                     requeue a job, as a pre-emption does
  scancel JOB_ID                              cancel a job; another one continues

experiments/clusters/testbed.toml is the cluster file: write a wrong value in it and run again.
"""


def main() -> None:
    if (reason := why_not()) is not None:
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-testbed-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the database runs as a user of its own
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.cluster", str(folder / "slurm")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # so Ctrl-C in the shell does not reach the cluster
        )
        if keeper.stdout is None or keeper.stdin is None or keeper.stdout.readline() != "ready\n":
            sys.exit("error: the cluster did not start")
        print(HINTS, flush=True)
        subprocess.run([os.environ.get("SHELL", "bash")], cwd=site(folder), env=environment(folder))
        keeper.stdin.close()
        keeper.wait(timeout=60)


def site(folder: Path) -> Path:
    """Make a folder with an experiment and a cluster file, like a clone of this repository."""
    clusters = folder / "site" / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    settings = {
        "partition": "comp3710",
        "time_limit": "5",
        "jobs": 3,
        "max_running_jobs": 1,
        "workers": 2,
    }
    (clusters / "testbed.toml").write_text(CLUSTER.format(**settings, trials_per_job=0, setup=""))
    values = {"trials": 30, "epochs": 20, "pruner": "successive_halving", "seconds": 1.0}
    experiment = EXPERIMENT.format(**values, bug="false", gate_at=0)
    (folder / "site" / "tiny.toml").write_text(experiment)
    return folder / "site"


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    variables = {"SLURM_CONF": str(folder / "slurm" / "slurm.conf"), "PYTHONPATH": str(ROOT)}
    return os.environ | variables | {"PATH": path}


if __name__ == "__main__":
    main()
