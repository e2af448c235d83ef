"""The methods paragraph: what was done, ready to be pasted into a paper."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from sweeps.analysis.trials import SweepTrials
from sweeps.config.experiment import Experiment
from sweeps.config.space import Choices, Parameter, Range
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State
from sweeps.text import count, number

_PACKAGES = ("vqvae-sweeps", "torch", "optuna", "mlflow", "submitit")


def methods_paragraph(sweep: Sweep, trials: SweepTrials, about: str) -> str:
    """Return what was trained, searched and counted, with seeds and versions.

    Args:
        sweep: the sweep.
        trials: its trials.
        about: what the trainer says of its model and its metrics.
    """
    sentences = [
        *([about] if about else []),
        *_search(sweep.experiment, trials),
        *_training(trials),
        *_seeds(sweep, trials),
        *_software(sweep),
    ]
    return " ".join(sentences)


def _search(experiment: Experiment, trials: SweepTrials) -> Iterator[str]:
    dimensions = "; ".join(_dimension(trials, each) for each in trials.space.parameters)
    yield f"Hyperparameters were searched over {dimensions}."
    sampler, objective = experiment.sampler, experiment.objective
    verb = "maximized" if objective.maximize else "minimized"
    kinds = {
        "tpe": "the tree-structured Parzen estimator of Optuna (Akiba et al. 2019), the first "
        f"{sampler.startup_trials} trials random, sampler seed {sampler.seed}",
        "grid": "taking every combination of the listed values",
        "random": f"random sampling, sampler seed {sampler.seed}",
        "enqueued": "a list of configurations fixed in advance",
    }
    yield f"Trials were chosen by {kinds[sampler.kind]}; {objective.metric} was {verb}."
    pruner = experiment.pruner
    if pruner.kind == "successive_halving":
        yield (
            "Weak trials were stopped early by asynchronous successive halving (Li et al. 2018, "
            f"arXiv:1810.05934; first comparison after epoch {pruner.min_epochs}, reduction "
            f"factor {pruner.reduction})."
        )


def _dimension(trials: SweepTrials, parameter: Parameter) -> str:
    condition = parameter.condition
    where = "" if condition is None else f" where {trials.setting(*condition)}"
    return f"{trials.short(parameter.path)} {_domain(parameter.domain)}{where}"


def _domain(domain: Range | Choices) -> str:
    if isinstance(domain, Choices):
        return f"in {{{', '.join(number(value) for value in domain.values)}}}"
    scale = ", logarithmic" if domain.log else ""
    return f"in [{number(domain.low)}, {number(domain.high)}]{scale}"


def _training(trials: SweepTrials) -> Iterator[str]:
    epochs = sorted({each.spec.epochs for each in trials.snapshots})
    states = {state: len(trials.in_state(state)) for state in State}
    ended = ", ".join(f"{n} {state.value}" for state, n in states.items() if n)
    if epochs:
        yield (
            f"{count(len(trials.snapshots), 'trial')} of up to {' or '.join(map(str, epochs))} "
            f"epochs were run ({ended}); a trial's value is that of its best epoch."
        )


def _seeds(sweep: Sweep, trials: SweepTrials) -> Iterator[str]:
    if trials.seeds is None or not trials.complete:
        yield "Each configuration was trained once, with one random seed."
        return
    again = len(trials.seeds.of(trials.complete[0].values))
    candidates = count(sweep.experiment.promotion.candidates, "best configuration")
    yield (
        f"After the search the {candidates} were trained again with new values of "
        f"{trials.seeds.seed} ({count(again, 'run')} of the best one)."
    )


def _software(sweep: Sweep) -> Iterator[str]:
    found = _versions(_PACKAGES)
    names = ", ".join(f"{package} {number}" for package, number in found.items())
    yield f"Software: Python {platform.python_version()}, {names}."
    if sweep.plan.commit:
        yield f"Code: commit {sweep.plan.commit}."
    if sweep.plan.fingerprint:
        yield f"Data: fingerprint {sweep.plan.fingerprint}."


def _versions(packages: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
