"""`sweeps plan`: a sweep's next proposals, its cost, and what sbatch would receive."""

import math
import shutil
import tempfile
from pathlib import Path

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.sweep_arguments import ClusterName, ExperimentFile, Runs, TotalTrials
from sweeps.config.cluster import Cluster, read_cluster, workers_and_threads
from sweeps.config.resolve import ResolvedExperiment, read_experiment
from sweeps.config.space import Values, short_names
from sweeps.jobs.slurm.commands import dry_run
from sweeps.jobs.slurm.site_check import check_site
from sweeps.jobs.slurm.time_limit import limit_seconds, margin_seconds
from sweeps.jobs.start import SweepRequest
from sweeps.jobs.submit import submission_text
from sweeps.search.study import Study
from sweeps.storage.paths import SweepPaths
from sweeps.storage.progress import progress_of
from sweeps.storage.sweep import runs_folder
from sweeps.storage.trial_record import read_curve
from sweeps.text import duration, number, printable

PROPOSALS = 5


def plan(
    experiment: ExperimentFile = None,
    cluster: ClusterName = None,
    runs: Runs = None,
    trials: TotalTrials = None,
) -> None:
    """Show what `run` would do and what it may cost; submit nothing."""
    path, cluster = choose_defaults(experiment, cluster)
    for line in describe_plan(SweepRequest(path, cluster, runs_folder(runs), trials)):
        print(printable(line))


def describe_plan(request: SweepRequest) -> list[str]:
    """Return the lines of the plan; no job is submitted and no sweep is created.

    Raises:
        InputError: the experiment file or the cluster file is wrong.
        EnvironmentFailure: sbatch would refuse the job.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    paths = request.runs.sweep(resolved.experiment.name)
    lines = [*_proposals(paths, resolved), "", *_cost(paths, resolved, cluster)]
    if cluster.scheduler != "slurm":
        return lines
    check_site(request.cluster, cluster, request.runs.slurm)
    text = submission_text(paths, cluster)
    answer = dry_run(text).strip().rpartition("\n")[2].removeprefix("sbatch: ")
    return [*lines, "", "sbatch would receive, for each job of an array:", "", text, answer]


def _proposals(paths: SweepPaths, resolved: ResolvedExperiment) -> list[str]:
    """Return the next proposals, from a copy of the study.

    They depend on the study alone, so `run` makes the same ones while the study is unchanged.
    """
    short = short_names(resolved.experiment.space)
    with tempfile.TemporaryDirectory() as name:
        copy = SweepPaths(Path(name) / paths.name)
        copy.folder.mkdir()
        if paths.study.exists():
            shutil.copy(paths.study, copy.study)
        tried = {trial.signature for trial in paths.trials()}
        enqueued = [v for v in resolved.enqueued if resolved.signature_of(v) not in tried]
        study = Study(copy, resolved.experiment, stale_after=60.0)
        first = study.trials()[-1].number + 1 if study.trials() else 0
        requested: list[Values | None] = [*enqueued[:PROPOSALS], *[None] * PROPOSALS]
        count = max(0, min(PROPOSALS, resolved.experiment.trials - len(tried)))
        proposed = [study.ask(resolved.space, values)[1] for values in requested[:count]]
    lines = [f"next proposals, of {resolved.experiment.trials} trials in all:"]
    for trial, values in enumerate(proposed, start=first):
        shown = ", ".join(f"{short.get(path, path)} {number(v)}" for path, v in values.items())
        lines.append(f"  {trial:04d}  {shown}")
    return lines


def _cost(paths: SweepPaths, resolved: ResolvedExperiment, cluster: Cluster) -> list[str]:
    """Return an upper bound: each trial runs every epoch, at the pace of the slowest one so far."""
    curves = [read_curve(trial) for trial in paths.trials()]
    left = progress_of(paths, resolved.experiment.trials).left
    longest = max(resolved.trainer.epochs(config) for config in resolved.corner_configs())
    epochs, workers = left * longest, workers_and_threads(cluster)[0]
    lines = [
        f"{left} trials left, at most {longest} epochs each: {epochs} epochs, fewer with pruning"
    ]
    paces = [sum(row.seconds for row in curve) / len(curve) for curve in curves if curve]
    if not paces:
        return [*lines, "hours and jobs: not known before a first trial has run"]
    seconds = epochs * max(paces) / workers
    total = limit_seconds(cluster)
    jobs = math.ceil(seconds / (total - margin_seconds(total)))
    what = "GPU" if cluster.gpus else "job"
    shared = f", {workers} workers in parallel" if workers > 1 else ""
    lines.append(
        f"at most {seconds / 3600:.1f} {what} hours, at {duration(max(paces))} per epoch{shared}"
    )
    lines.append(f"{jobs} jobs of {cluster.time_limit}, {cluster.max_running_jobs} at a time")
    return lines
