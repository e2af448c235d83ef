"""`make slurm-testbed`: a test cluster with a shell; it ends with the shell.

`SITE="bare MaxArraySize=5"` is another site of `tests/slurm/rules.py`, with another line.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import why_not
from tests.slurm.conftest import CLUSTER, account_line, running_testbed
from tests.slurm.rules import SiteRules, rules_of
from tests.sweeps.conftest import EXPERIMENT

HINTS = """
This shell has its own SLURM cluster with the rules of the site {name}: two nodes with two simulated
GPUs each, and what tests/slurm/rules.py says of it. The cluster ends with the shell (exit). Try:

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
    rules = rules_of(sys.argv[1:])
    with running_testbed(rules) as testbed, tempfile.TemporaryDirectory() as name:
        print(HINTS.format(name=rules.name), flush=True)
        path = f"{Path(sys.executable).parent}:{testbed.environment()['PATH']}"
        environment = os.environ | testbed.environment() | {"PATH": path}
        subprocess.run(
            [os.environ.get("SHELL", "bash")], cwd=site(Path(name), rules), env=environment
        )


def site(folder: Path, rules: SiteRules) -> Path:
    """Make a folder with an experiment and a cluster file, like a clone of this repository."""
    clusters = folder / "site" / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    settings = {
        "partition": rules.partition,
        "account": account_line(rules),
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


if __name__ == "__main__":
    main()
