"""`sweeps stop`: stop a sweep so that it can be resumed."""

import time

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.jobs.job_status import active_jobs
from sweeps.storage.sweep import open_sweep, stop_sweep


def stop(name: Name = None, runs: Runs = None) -> None:
    """Stop a sweep: each worker finishes its epoch, releases its trial and exits."""
    sweep = open_sweep(find_sweep(name, runs))
    stop_sweep(sweep.paths, "by hand (sweeps stop)")
    print("each worker exits after its current epoch", end="", flush=True)
    while sweep.plan.cluster.scheduler == "local" and active_jobs(sweep.paths):
        time.sleep(0.5)
        print(".", end="", flush=True)
    print(f"\nno finished epoch is lost; resume with: {resume_command(sweep)}")
