"""`sweeps plan`: a sweep's next proposals, its cost, and what sbatch would receive."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.next_trials import next_proposals, trials_left
from sweeps.cli.sweep_arguments import ClusterName, ExperimentFile, Runs, TotalTrials
from sweeps.config.cluster import Cluster, read_cluster, workers_and_threads
from sweeps.config.resolve import ResolvedExperiment, read_experiment
from sweeps.config.space import short_names
from sweeps.errors import EnvironmentFailure
from sweeps.jobs.notify import check_notify
from sweeps.jobs.slurm.commands import SlurmUnavailableError, dry_run
from sweeps.jobs.slurm.site_check import check_site, explain_refusal
from sweeps.jobs.slurm.submission_environment import (
    environment_notes,
    submission_environment,
    with_site_defaults,
)
from sweeps.jobs.slurm.time_limit import limit_seconds, margin_seconds
from sweeps.jobs.start import SweepRequest, check_local_device
from sweeps.jobs.submit import submission_text
from sweeps.monitor.lines import exhausted_lines, progress_text
from sweeps.promotion.promotable import why_not_promotable
from sweeps.storage.file_count import FileCount, count_files
from sweeps.storage.progress import Exhausted, progress_of
from sweeps.storage.sweep import Plan, Sweep, runs_folder
from sweeps.storage.trial_record import TrialSpec, is_abandoned, read_curve, read_result
from sweeps.text import count, duration, number, printable
from sweeps.tracking.store import resolve_store
from sweeps.tracking.uri import check_uri

PROPOSALS = 5


@dataclass(frozen=True)
class Cost:
    """An upper bound: each trial runs every epoch, at the pace of the slowest one so far.

    Attributes:
        planned_left: the trials left if there were enough to try.
        running: how many of the trials left a worker has now.
        longest: how many epochs a trial has at most.
        epochs: how many epochs are left at most.
        pace: seconds per epoch of the slowest trial so far; None before a first one has run.
        seconds: seconds of all jobs together at most; None before a first trial has run.
        jobs: how many jobs that takes; None before a first trial has run.
    """

    planned_left: int
    running: int
    longest: int
    epochs: int
    pace: float | None
    seconds: float | None
    jobs: int | None


@dataclass(frozen=True)
class SweepPlan:
    """What `run` would do.

    Attributes:
        sweep: the sweep as `run` would make it.
        data: what the trainer found of its data.
        device: what the trials will be trained on; empty if a job decides that, or none is left.
        not_promotable: why no model of the sweep can be promoted; None if one can.
        left: how many trials must still end.
        proposals: the next new trials, at most `PROPOSALS`.
        cost: what is left; None if nothing is.
        script: what sbatch would receive for each job; empty without SLURM.
        answer: what sbatch answered to it; empty without SLURM.
        files: how many files and folders the sweep makes; None if nothing is left.
    """

    sweep: Sweep
    data: str
    device: str
    not_promotable: str | None
    left: int
    proposals: tuple[TrialSpec, ...] = ()
    cost: Cost | None = None
    script: str = ""
    answer: str = ""
    files: FileCount | None = None


def plan(
    experiment: ExperimentFile = None,
    cluster: ClusterName = None,
    runs: Runs = None,
    trials: TotalTrials = None,
    as_json: JsonOption = False,
) -> None:
    """Show what `run` would do and what it may cost; submit nothing."""
    path, cluster = choose_defaults(experiment, cluster)
    found = make_plan(SweepRequest(path, cluster, runs_folder(runs), trials))
    if as_json:
        print_json(plan_content(found))
        return
    for line in plan_lines(found):
        print(printable(line))


def make_plan(request: SweepRequest) -> SweepPlan:
    """Return what `run` would do; no job is submitted and no sweep is created.

    Raises:
        InputError: the experiment file, the cluster file or the URI of the tracking store is wrong,
            or the data or a device are missing.
        EnvironmentFailure: sbatch would refuse the job.
    """
    resolved = read_experiment(request.experiment, request.trials)
    cluster = read_cluster(request.cluster)
    check_uri(resolve_store(request.runs, cluster.tracking))
    check_notify(cluster)
    paths = request.runs.sweep(resolved.experiment.name)
    sweep = Sweep(paths, Plan(resolved.experiment, cluster, fingerprint="", commit=""))
    data = resolved.check_data()
    left = trials_left(sweep)
    device = check_local_device(resolved, cluster) if left else ""
    reason = why_not_promotable(sweep)
    if not left:
        return SweepPlan(sweep, data, device or "", reason, left)
    proposals = tuple(next_proposals(sweep, PROPOSALS))
    cost = _cost(sweep, resolved, left)
    script = answer = ""
    if cluster.scheduler == "slurm":
        check_site(request.cluster, with_site_defaults(cluster), request.runs.slurm)
        script = submission_text(paths, cluster)
        answer = _answer(request, cluster, script)
    files = count_files(paths, resolved.experiment.trials)
    return SweepPlan(
        sweep, data, device or "", reason, left, proposals, cost, script, answer, files
    )


def _answer(request: SweepRequest, cluster: Cluster, script: str) -> str:
    """Return when the job would start, as sbatch says it."""
    try:
        return (
            dry_run(script, submission_environment())
            .strip()
            .rpartition("\n")[2]
            .removeprefix("sbatch: ")
        )
    except SlurmUnavailableError:
        raise
    except EnvironmentFailure as error:  # refused: say what to write instead, if that is known
        explain_refusal(with_site_defaults(cluster), request.runs.slurm, str(error))
        raise


def describe_plan(request: SweepRequest) -> list[str]:
    """Return the lines of the plan; raises what `make_plan` raises."""
    return list(plan_lines(make_plan(request)))


def plan_lines(plan: SweepPlan) -> Iterator[str]:
    """Yield the lines of a plan for people."""
    yield f"data: {plan.data}"
    if plan.device:
        yield f"device: {plan.device}"
    if plan.not_promotable is not None:
        yield f"no model of this sweep can be promoted: {plan.not_promotable}"
    if plan.cost is None:
        yield _why_nothing_is_left(plan.sweep)
        return
    yield from environment_notes(plan.sweep.plan.cluster)
    yield from ("", *_proposal_lines(plan), "", *_cost_lines(plan, plan.cost))
    if plan.files is not None:
        yield plan.files.text()
    if plan.script:
        yield from ("", "sbatch would receive, for each job of an array:", "", plan.script)
        yield plan.answer


def plan_content(plan: SweepPlan) -> dict[str, Any]:
    """Return a plan as a JSON object; docs/scripts.md has the keys, which stay."""
    cost = plan.cost
    return {
        "sweep": plan.sweep.paths.name,
        "planned": plan.sweep.experiment.trials,
        "left": plan.left,
        "data": plan.data,
        "device": plan.device,
        "not_promotable": plan.not_promotable,
        "proposals": [{"number": one.number, "values": one.values} for one in plan.proposals],
        "epochs": 0 if cost is None else cost.epochs,
        "seconds": None if cost is None else cost.seconds,
        "jobs": None if cost is None else cost.jobs,
        "files": None if plan.files is None else plan.files.total,
        "script": plan.script,
        "answer": plan.answer,
    }


def _why_nothing_is_left(sweep: Sweep) -> str:
    progress = sweep.progress()
    is_enqueued = sweep.experiment.sampler.kind == "enqueued"
    reason = Exhausted.ENQUEUED if is_enqueued else Exhausted.EVERY_POINT
    why = exhausted_lines(progress, reason) or ["--trials sets a larger total"]
    return f"the sweep is over: {progress_text(progress)}; {why[0]}"


def _proposal_lines(plan: SweepPlan) -> list[str]:
    """Return lines with the next proposals; `run` makes the same ones if the study is unchanged."""
    if not plan.proposals:
        return [f"no new proposals: {count(plan.left, 'trial')} of the sweep must still end"]
    experiment = plan.sweep.experiment
    short = short_names(experiment.space)
    lines = [f"next proposals, of {count(experiment.trials, 'trial')} in all:"]
    for trial in plan.proposals:
        values = trial.values.items()
        shown = ", ".join(f"{short.get(path, path)} {number(value)}" for path, value in values)
        lines.append(f"  {trial.number:04d}  {shown}")
    return lines


def _cost(sweep: Sweep, resolved: ResolvedExperiment, left: int) -> Cost:
    cluster = sweep.plan.cluster
    curves = {trial: read_curve(trial) for trial in sweep.paths.trials()}
    open_trials = [trial for trial in curves if read_result(trial) is None]
    done = sum(len(curves[trial]) for trial in open_trials)
    longest = max(resolved.trainer.epochs(config) for config in resolved.corner_configs())
    epochs = max(0, left * longest - done)
    planned = progress_of(sweep.paths, resolved.experiment.trials).left
    running = sum(not is_abandoned(trial.attempts()[-1]) for trial in open_trials)
    paces = [sum(row.seconds for row in curve) / len(curve) for curve in curves.values() if curve]
    if not paces:
        return Cost(planned, running, longest, epochs, None, None, None)
    seconds = epochs * max(paces) / workers_and_threads(cluster)[0]
    total = limit_seconds(cluster)
    jobs = math.ceil(seconds / (total - margin_seconds(total)))
    return Cost(planned, running, longest, epochs, max(paces), seconds, jobs)


def _cost_lines(plan: SweepPlan, cost: Cost) -> Iterator[str]:
    cluster = plan.sweep.plan.cluster
    fewer = "" if plan.left == cost.planned_left else f" (not {cost.planned_left}: {_NO_MORE})"
    running = f", {cost.running} of them running now" if cost.running else ""
    pruned = "" if plan.sweep.experiment.pruner.kind == "none" else ", fewer with pruning"
    left = f"{count(plan.left, 'trial')} left{fewer}{running}"
    yield (
        f"{left}, at most {count(cost.longest, 'epoch')} each: "
        f"{count(cost.epochs, 'epoch')}{pruned}"
    )
    if cost.pace is None or cost.seconds is None or cost.jobs is None:
        yield "hours and jobs: not known before a first trial has run"
        return
    what = "GPU" if cluster.gpus else "job"
    workers = workers_and_threads(cluster)[0]
    shared = f", {workers} workers in parallel" if workers > 1 else ""
    spent = f"at most {duration(cost.seconds)} of {what} time"
    yield f"{spent}, at {duration(cost.pace)} per epoch{shared}"
    if cluster.scheduler == "local":
        yield "1 job on this machine"
    else:
        jobs = count(max(1, cost.jobs), "job")
        yield f"{jobs} of {cluster.time_limit}, {cluster.max_running_jobs} at a time"


_NO_MORE = "there is no more to try"
