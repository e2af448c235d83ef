"""What a sweep would do: its first proposals, what it may cost, and what SLURM would be sent."""

import math
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.sweep_arguments import Runs
from sweeps.config.cluster import Cluster, read_cluster, workers_and_threads
from sweeps.config.experiment import ResolvedExperiment, read_experiment
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
    experiment: Annotated[Path | None, typer.Argument(help="as for run")] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", help="as for run")] = None,
    runs: Runs = None,
    trials: Annotated[int | None, typer.Option(min=1, help="as for run")] = None,
) -> None:
    """Show what run would do, and what it may cost; send nothing."""
    path, cluster = choose_defaults(experiment, cluster)
    for line in describe_plan(SweepRequest(path, cluster, runs_folder(runs), trials)):
        typer.echo(printable(line))


def describe_plan(request: SweepRequest) -> list[str]:
    """The plan, in lines; nothing is sent and no sweep is made.

    Raises:
        InputError: the experiment or the cluster file is wrong.
        WorldError: sbatch would refuse the job.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    paths = request.runs.sweep(resolved.experiment.name)
    lines = [*_proposals(paths, resolved), "", *_cost(paths, resolved, cluster)]
    if cluster.scheduler != "slurm":
        return lines
    check_site(request.cluster, cluster, request.runs.slurm)
    text = submission_text(paths, cluster)
    said = dry_run(text).strip().rpartition("\n")[2].removeprefix("sbatch: ")
    return [*lines, "", "what sbatch would be given, for each job of an array:", "", text, said]


def _proposals(paths: SweepPaths, resolved: ResolvedExperiment) -> list[str]:
    """What would be tried next: a study's proposals depend on nothing but the study."""
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
        wanted: list[Values | None] = [*enqueued[:PROPOSALS], *[None] * PROPOSALS]
        count = max(0, min(PROPOSALS, resolved.experiment.trials - len(tried)))
        asked = [study.ask(resolved.space, values)[1] for values in wanted[:count]]
    lines = [f"the first proposals, of {resolved.experiment.trials} trials:"]
    for place, values in enumerate(asked, start=first):
        shown = ", ".join(f"{short.get(path, path)} {number(v)}" for path, v in values.items())
        lines.append(f"  {place:04d}  {shown}")
    return lines


def _cost(paths: SweepPaths, resolved: ResolvedExperiment, cluster: Cluster) -> list[str]:
    """An upper bound: every trial to its last epoch, each epoch as slow as the slowest so far."""
    curves = [read_curve(trial) for trial in paths.trials()]
    left = progress_of(paths, resolved.experiment.trials).left
    longest = max(resolved.trainer.epochs(config) for config in resolved.corner_configs())
    epochs, workers = left * longest, workers_and_threads(cluster)[0]
    lines = [
        f"{left} trials of at most {longest} epochs are left: {epochs} epochs, less by pruning"
    ]
    paces = [sum(row.seconds for row in curve) / len(curve) for curve in curves if curve]
    if not paces:
        return [*lines, "no epoch has been timed yet: run a trial, and this says hours and jobs"]
    seconds = epochs * max(paces) / workers
    total = limit_seconds(cluster)
    jobs = math.ceil(seconds / (total - margin_seconds(total)))
    what = "GPU" if cluster.gpus else "job"
    shared = f", {workers} workers side by side" if workers > 1 else ""
    lines.append(
        f"at most {seconds / 3600:.1f} {what} hours, at {duration(max(paces))} an epoch{shared}"
    )
    lines.append(f"{jobs} jobs of {cluster.time_limit}, {cluster.max_running_jobs} at a time")
    return lines
