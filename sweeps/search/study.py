"""The study: the only module that uses Optuna.

A study is a journal that any number of processes share. Each answer follows from the journal alone
(the sampler is seeded anew with each trial's number). It does not depend on which process asks, or
on how often processes were started before.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from sweeps.config.experiment import Experiment, Sampler
from sweeps.config.space import Choices, Parameter, Scalar, Space, Values, parse_space, short_names
from sweeps.filesystem.lock import Lock
from sweeps.search import pruning
from sweeps.search.journal import Journal
from sweeps.search.study_page import write_page
from sweeps.storage.paths import SweepPaths
from sweeps.storage.trial_record import State, TrialResult

optuna.logging.set_verbosity(optuna.logging.WARNING)

_DUPLICATE = "duplicate of"
_PRUNE_KEY = "pruned after epoch "


class ReportedState(StrEnum):
    """What was reported to the study about a trial's end."""

    NOTHING = "nothing"
    VALUE = "value"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True)
class StudyTrial:
    """A trial as it is in the study.

    Attributes:
        number: its number.
        reported: what was reported about its end.
        values: the searched values by path; empty if the proposal was interrupted.
        curve: the objective by epoch.
        value: the reported value; None for a pruned trial, which has only its curve.
        duplicate_of: the number of the trial whose configuration it repeats; None if it repeats
            none.
    """

    number: int
    reported: ReportedState
    values: Mapping[str, Scalar]
    curve: pruning.Curve
    value: float | None
    duplicate_of: int | None


@dataclass(frozen=True)
class Evaluation:
    """A point of the search space, by path, and the value that a complete trial had there."""

    values: Mapping[str, Scalar]
    value: float


class Study:
    """A sweep's study, shared with every other process that opens it.

    Attributes:
        experiment: the experiment whose sampler and pruner are used; may be replaced while the
            sweep runs.
    """

    def __init__(self, paths: SweepPaths, experiment: Experiment, *, stale_after: float) -> None:
        """Open the study; create it if it does not exist."""
        self.experiment = experiment
        journal = Journal(paths.study, Lock(paths.lock("study"), stale_after=stale_after))
        self._storage = JournalStorage(cast(BaseJournalBackend, journal))
        self._study = optuna.create_study(
            study_name=experiment.name,
            storage=self._storage,
            sampler=RandomSampler(),
            pruner=optuna.pruners.NopPruner(),
            direction=experiment.objective.direction,
            load_if_exists=True,
        )

    def trials(self) -> list[StudyTrial]:
        """Return every trial, in the order of their numbers."""
        trials = self._study.get_trials(deepcopy=False)
        return [_study_trial(trial) for trial in trials if trial.state != TrialState.WAITING]

    def trial(self, number: int) -> StudyTrial:
        """Return one trial."""
        return _study_trial(self._trial(number))

    def ask(self, space: Space, fixed: Values | None) -> tuple[int, Values]:
        """Propose a trial and return its number and values. Hold the sweep's proposal lock.

        Args:
            space: the search space.
            fixed: the values if they are known already; None to let the sampler choose.
        """
        trials = self._study.get_trials(deepcopy=False)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if fixed is not None and not waiting:  # a waiting one is left from an interrupted `ask`
            self._study.enqueue_trial(space.by_parameter_name(fixed))
        sampler = _sampler(self.experiment.sampler, len(trials))
        asking = optuna.load_study(
            study_name=self.experiment.name, storage=self._storage, sampler=sampler
        )
        trial = asking.ask()
        return trial.number, space.suggest(lambda parameter: _suggest(trial, parameter))

    def report(self, number: int, epoch: int, value: float) -> None:
        """Report the objective after an epoch; if that was reported already, nothing changes."""
        trial = self._trial(number)
        if epoch not in trial.intermediate_values and not trial.state.is_finished():
            self._handle(number).report(value, epoch)

    def should_prune(self, number: int, epoch: int) -> bool:
        """Return whether the trial is pruned after `epoch`; the decision is recorded and final."""
        pruner, objective = self.experiment.pruner, self.experiment.objective
        if not pruning.is_rung(pruner, epoch):
            return False
        own = self._trial(number)
        key = f"{_PRUNE_KEY}{epoch}"
        if key not in own.user_attrs and not own.state.is_finished():
            rivals = [
                trial.intermediate_values
                for trial in self._study.get_trials(deepcopy=False)
                if trial.number != number and _DUPLICATE not in trial.user_attrs
            ]
            prune = pruning.should_prune(own.intermediate_values, rivals, epoch, pruner, objective)
            self._handle(number).set_user_attr(key, prune)
            return prune
        return bool(own.user_attrs.get(key, False))

    def tell(self, number: int, result: TrialResult) -> None:
        """Report how a trial ended; if that was reported already, nothing changes."""
        match result.state:
            case State.PRUNED:
                self._study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            case State.COMPLETE | State.DIVERGED:
                self._study.tell(number, result.value, skip_if_finished=True)
            case _:
                self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def tell_duplicate(self, number: int, twin: StudyTrial) -> None:
        """Report the result of the trial that a proposal repeats; discard it if there is none yet.

        Args:
            number: the number of the proposal.
            twin: the earlier trial with the same configuration.
        """
        self._handle(number).set_user_attr(_DUPLICATE, twin.number)
        if twin.reported is ReportedState.VALUE:
            self._study.tell(number, twin.value, skip_if_finished=True)
        elif twin.reported is ReportedState.PRUNED:
            for epoch, value in twin.curve.items():
                self._handle(number).report(value, epoch)
            self._study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.discard(number)

    def discard(self, number: int) -> None:
        """Discard a proposal: it is reported as failed."""
        self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def write_plots(
        self, file: Path, evaluations: Sequence[Evaluation] = (), *, importances: bool = False
    ) -> list[str]:
        """Write Optuna's plots of the study into one HTML page; return the titles of those made.

        Args:
            file: the page.
            evaluations: the complete trials; empty for no plot of parallel coordinates.
            importances: whether there are enough of them for a plot of importances.
        """
        from optuna import visualization as plots  # noqa: PLC0415 (a second to import)

        metric = self.experiment.objective.metric
        rendered: dict[str, Callable[[], Any]] = {
            "History": lambda: plots.plot_optimization_history(self._study, target_name=metric),
            "Curves": lambda: plots.plot_intermediate_values(self._study),
            "Values tried": lambda: _short_axes(plots.plot_slice(self._study, target_name=metric)),
            "When trials ran": lambda: plots.plot_timeline(self._study),
        }
        if evaluations:
            folded = _folded_study(self.experiment, evaluations, plotted=True)
            rendered["Parallel coordinates"] = lambda: plots.plot_parallel_coordinate(
                folded, target_name=metric
            )
        if evaluations and importances:
            rendered["Importances (fANOVA)"] = lambda: plots.plot_param_importances(
                folded, evaluator=_evaluator(), target_name=metric
            )
        figures = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of the functions are experimental
            for title, plot in rendered.items():
                # Too few trials for a plot, all have the same value, or a fault of the library.
                with suppress(Exception):
                    figures[title] = plot()
        figures = {title: figure for title, figure in figures.items() if figure.data}
        title = f"The study of {self.experiment.name}"
        note = "(0-1) is a position: from the lowest to the highest value that the case allows."
        write_page(file, title, note, figures)
        return list(figures)

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _handle(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._trial(number)._trial_id)


def _short_axes(figure: Any) -> Any:
    """Write the name of a parameter without its table, and its case on a line of its own."""
    for axis in figure.select_xaxes():
        path, _, case = (axis.title.text or "").partition(" | ")
        other, equals, value = case.partition(" = ")
        words = [path.rpartition(".")[2], f"{other.rpartition('.')[2]}{equals}{value}"]
        axis.update(title_text="<br>".join(word for word in words if word))
    return figure


def importances(experiment: Experiment, evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return how much of the variance of the values each path explains, by fANOVA.

    A path with cases is one parameter here, the position in the range or list of its case. Optuna
    itself would leave it out, because no trial has the parameters of all cases.

    Source: Hutter, Hoos and Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter
    Importance".

    Args:
        experiment: the experiment with the search space.
        evaluations: at least two complete trials.

    Returns:
        Shares that add up to 1; empty if all values are equal.
    """
    try:
        shares = optuna.importance.get_param_importances(
            _folded_study(experiment, evaluations), evaluator=_evaluator()
        )
    except RuntimeError:  # no variance
        return {}
    return {path: float(share) for path, share in shares.items()}


# The name is quoted: to look it up imports scikit-learn, which takes longer than Optuna itself.
def _evaluator() -> "optuna.importance.FanovaImportanceEvaluator":
    return optuna.importance.FanovaImportanceEvaluator(seed=0)


def _folded_study(
    experiment: Experiment, evaluations: Sequence[Evaluation], *, plotted: bool = False
) -> optuna.Study:
    """Return a study in memory in which each path is one parameter.

    In a plot its name is short, and says what the values of a path with cases are.
    """
    space = parse_space(experiment.space, experiment.name)
    with_cases = {p.path for p in space.parameters if p.condition is not None}
    short = short_names(space.paths) if plotted else {}
    names = {
        path: short.get(path, path) + (" (0-1)" if plotted and path in with_cases else "")
        for path in space.paths
    }
    distributions = {names[p.path]: _folded_distribution(p) for p in space.parameters}
    study = optuna.create_study(direction=experiment.objective.direction)
    for each in evaluations:
        applying = [parameter for parameter in space.parameters if parameter.applies(each.values)]
        params = {names[p.path]: _folded_value(p, each.values[p.path]) for p in applying}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=each.value)
        )
    return study


def _folded_distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution of a path in all its cases: of cases, the position in each.

    By its value a case could be told from another one: a learning rate would then explain what the
    optimizer does.
    """
    domain = parameter.domain
    if parameter.condition is not None:
        return FloatDistribution(0.0, 1.0)
    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.values)
    if domain.is_whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _folded_value(parameter: Parameter, value: Scalar) -> Scalar:
    if parameter.condition is None:
        return value
    return min(1.0, max(0.0, parameter.domain.position(value)))  # rounding


def _study_trial(trial: FrozenTrial) -> StudyTrial:
    reported = {
        TrialState.COMPLETE: ReportedState.VALUE,
        TrialState.PRUNED: ReportedState.PRUNED,
        TrialState.FAIL: ReportedState.FAILED,
    }.get(trial.state, ReportedState.NOTHING)
    return StudyTrial(
        number=trial.number,
        reported=reported,
        values={name.partition(" | ")[0]: value for name, value in trial.params.items()},
        curve=trial.intermediate_values,
        value=trial.value if reported is ReportedState.VALUE else None,
        duplicate_of=trial.user_attrs.get(_DUPLICATE),
    )


def _sampler(settings: Sampler, number: int) -> BaseSampler:
    seed = (settings.seed * 1_000_003 + number) % 2**32  # NumPy accepts no larger seed
    match settings.kind:
        case "random" | "grid" | "enqueued":  # of the last two, all values are given
            return RandomSampler(seed=seed)
        case "tpe":
            with warnings.catch_warnings():  # `group` is experimental; Optuna's version is pinned
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return TPESampler(
                    n_startup_trials=settings.startup_trials,
                    multivariate=True,
                    group=True,  # each optimizer's learning rate is a parameter of its own
                    constant_liar=True,
                    seed=seed,
                )


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    name, domain = parameter.name, parameter.domain
    if isinstance(domain, Choices):
        return cast(Scalar, trial.suggest_categorical(name, domain.values))
    if domain.is_whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
