"""`sweeps plan`: a sweep's next proposals, its cost, and what sbatch would receive."""

import math

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.next_trials import next_proposals, trials_left
from sweeps.cli.sweep_arguments import ClusterName, ExperimentFile, Runs, TotalTrials
from sweeps.config.cluster import Cluster, read_cluster, workers_and_threads
from sweeps.config.resolve import ResolvedExperiment, read_experiment
from sweeps.config.space import short_names
from sweeps.jobs.slurm.commands import dry_run
from sweeps.jobs.slurm.site_check import check_site
from sweeps.jobs.slurm.time_limit import limit_seconds, margin_seconds
from sweeps.jobs.start import SweepRequest, check_local_device
from sweeps.jobs.submit import submission_text
from sweeps.monitor.lines import exhausted_lines, progress_text
from sweeps.promotion.promotable import why_not_promotable
from sweeps.storage.paths import SweepPaths
from sweeps.storage.progress import Exhausted, progress_of
from sweeps.storage.sweep import Plan, Sweep, runs_folder
from sweeps.storage.trial_record import read_curve, read_result
from sweeps.text import count, duration, number, printable
from sweeps.tracking.store import resolve_store
from sweeps.tracking.uri import check_uri

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
        InputError: the experiment file, the cluster file or the URI of the tracking store is wrong,
            or the data or a device are missing.
        EnvironmentFailure: sbatch would refuse the job.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    check_uri(resolve_store(request.runs, cluster.tracking))
    paths = request.runs.sweep(resolved.experiment.name)
    sweep = Sweep(paths, Plan(resolved.experiment, cluster, fingerprint="", commit=""))
    lines = [f"data: {resolved.check_data()}"]
    if (left := trials_left(sweep)) and (device := check_local_device(resolved, cluster)):
        lines.append(f"device: {device}")
    if (reason := why_not_promotable(sweep)) is not None:
        lines.append(f"no model of this sweep can be promoted: {reason}")
    if not left:
        return [*lines, _why_nothing_is_left(sweep)]
    lines += ["", *_proposals(sweep, left), "", *_cost(paths, resolved, cluster, left)]
    if cluster.scheduler != "slurm":
        return lines
    check_site(request.cluster, cluster, request.runs.slurm)
    text = submission_text(paths, cluster)
    answer = dry_run(text).strip().rpartition("\n")[2].removeprefix("sbatch: ")
    return [*lines, "", "sbatch would receive, for each job of an array:", "", text, answer]


def _why_nothing_is_left(sweep: Sweep) -> str:
    progress = sweep.progress()
    is_enqueued = sweep.experiment.sampler.kind == "enqueued"
    reason = Exhausted.ENQUEUED if is_enqueued else Exhausted.EVERY_POINT
    why = exhausted_lines(progress, reason) or ["--trials sets a larger total"]
    return f"the sweep is over: {progress_text(progress)}; {why[0]}"


def _proposals(sweep: Sweep, left: int) -> list[str]:
    """Return lines with the next proposals; `run` makes the same ones if the study is unchanged."""
    proposed = next_proposals(sweep, PROPOSALS)
    if not proposed:
        return [f"no new proposals: {count(left, 'trial')} of the sweep must still end"]
    short = short_names(sweep.experiment.space)
    lines = [f"next proposals, of {count(sweep.experiment.trials, 'trial')} in all:"]
    for trial in proposed:
        values = trial.values.items()
        shown = ", ".join(f"{short.get(path, path)} {number(value)}" for path, value in values)
        lines.append(f"  {trial.number:04d}  {shown}")
    return lines


def _cost(
    paths: SweepPaths, resolved: ResolvedExperiment, cluster: Cluster, left: int
) -> list[str]:
    """Return an upper bound: each trial runs every epoch, at the pace of the slowest one so far."""
    curves = {trial: read_curve(trial) for trial in paths.trials()}
    done = sum(len(curve) for trial, curve in curves.items() if read_result(trial) is None)
    longest = max(resolved.trainer.epochs(config) for config in resolved.corner_configs())
    epochs, workers = max(0, left * longest - done), workers_and_threads(cluster)[0]
    planned = progress_of(paths, resolved.experiment.trials).left
    fewer = "" if left == planned else f" (not {planned}: there is no more to try)"
    pruned = "" if resolved.experiment.pruner.kind == "none" else ", fewer with pruning"
    lines = [
        f"{count(left, 'trial')} left{fewer}, at most {count(longest, 'epoch')} each: "
        f"{count(epochs, 'epoch')}{pruned}"
    ]
    paces = [sum(row.seconds for row in curve) / len(curve) for curve in curves.values() if curve]
    if not paces:
        return [*lines, "hours and jobs: not known before a first trial has run"]
    seconds = epochs * max(paces) / workers
    total = limit_seconds(cluster)
    jobs = math.ceil(seconds / (total - margin_seconds(total)))
    what = "GPU" if cluster.gpus else "job"
    shared = f", {workers} workers in parallel" if workers > 1 else ""
    lines.append(
        f"at most {duration(seconds)} of {what} time, at {duration(max(paces))} per epoch{shared}"
    )
    lines.append(
        f"{count(jobs, 'job')} of {cluster.time_limit}, {cluster.max_running_jobs} at a time"
    )
    return lines
