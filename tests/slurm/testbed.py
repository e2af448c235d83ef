"""`make slurm-testbed`: a shell on the cluster under test, for as long as the shell is open."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import why_not
from tests.slurm.conftest import CLUSTER, ROOT
from tests.sweeps.conftest import EXPERIMENT

HINTS = """
This shell has a SLURM of its own, with Rangpur's rules: two nodes with two pretended GPUs each,
one running job a user, an account that is needed. It goes when you leave (exit). Try:

  sinfo                                       what there is
  sweeps run tiny.toml --cluster testbed      a sweep of some minutes; Ctrl-C, and it goes on
  sweeps status                               what runs, what waits, and why
  squeue --me                                 the same in SLURM's words
  scontrol requeue NUMBER                     put a job back, as a pre-emption does
  scancel NUMBER                              cancel one; another goes on

experiments/clusters/testbed.toml is the cluster file: misspell something in it and run again.
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
            start_new_session=True,  # Ctrl-C in the shell is none of the cluster's business
        )
        if keeper.stdout is None or keeper.stdin is None or keeper.stdout.readline() != "ready\n":
            sys.exit("error: the cluster did not start")
        print(HINTS, flush=True)
        subprocess.run([os.environ.get("SHELL", "bash")], cwd=site(folder), env=environment(folder))
        keeper.stdin.close()
        keeper.wait(timeout=60)


def site(folder: Path) -> Path:
    """A folder with an experiment and a cluster file, as a clone of this repository has them."""
    clusters = folder / "site" / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    given = {
        "partition": "comp3710",
        "time_limit": "5",
        "jobs": 3,
        "max_running_jobs": 1,
        "workers": 2,
    }
    (clusters / "testbed.toml").write_text(CLUSTER.format(**given, trials_per_job=0, setup=""))
    asked = {"trials": 30, "epochs": 20, "pruner": "successive_halving", "seconds": 1.0}
    experiment = EXPERIMENT.format(**asked, bug="false", gate_at=0)
    (folder / "site" / "tiny.toml").write_text(experiment)
    return folder / "site"


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    place = {"SLURM_CONF": str(folder / "slurm" / "slurm.conf"), "PYTHONPATH": str(ROOT)}
    return os.environ | place | {"PATH": path}


if __name__ == "__main__":
    main()
