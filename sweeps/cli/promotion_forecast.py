"""What a promotion will train, and about how long that takes, in one sentence."""

from collections.abc import Sequence

from sweeps.config.cluster import Cluster, workers_and_threads
from sweeps.monitor.time_left import roughly
from sweeps.promotion.confirm import confirmation_values
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve, read_result, read_spec
from sweeps.text import count


def forecast(sweep: Sweep, trials: Sequence[TrialPaths], cluster: Cluster) -> str:
    """Return in one line what a promotion trains and about how long that takes.

    The pace is that of each trial in the search.

    Args:
        sweep: the search.
        trials: its trials that are trained again.
        cluster: where they are trained.
    """
    ended = {p.signature for p in sweep.paths.confirmation.trials() if read_result(p) is not None}
    left = [
        trial
        for trial in trials
        for values in confirmation_values(sweep, trial)
        if sweep.resolved.signature_of(values) not in ended
    ]
    if not left:
        return "every training of the promotion is done; it scores the best model and decides"
    seeds = count(sweep.experiment.promotion.seeds, "new seed")
    planned = len(trials) * sweep.experiment.promotion.seeds
    trainings = count(planned, "training")
    done = "" if len(left) == planned else f", {len(left)} of them left"
    epochs = max(read_spec(trial).epochs for trial in left)
    return (
        f"the promotion trains {count(len(trials), 'trial')} again with {seeds} each: "
        f"{trainings} of {count(epochs, 'epoch')}{done}, {_time(left, cluster)}; "
        "then it scores the best model on the test split and decides"
    )


def _time(trainings: Sequence[TrialPaths], cluster: Cluster) -> str:
    """Return about how long the trainings take at the pace of the search, with how many workers."""
    seconds = [read_spec(trial).epochs * _seconds_per_epoch(trial) for trial in trainings]
    jobs = 1 if cluster.scheduler == "local" else min(cluster.jobs, cluster.max_running_jobs)
    workers = min(len(trainings), jobs * workers_and_threads(cluster)[0])
    longest = max(*seconds, sum(seconds) / workers)
    return (
        f"about {roughly(longest)} of training with {count(workers, 'worker')}, "
        "at the pace of the search"
    )


def _seconds_per_epoch(trial: TrialPaths) -> float:
    rows = read_curve(trial)
    return sum(row.seconds for row in rows) / len(rows)
