"""Everything that the page shows, collected from the folders of one sweep or of several."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sweeps.analysis.finding import Finding, Kind
from sweeps.analysis.findings import find_all
from sweeps.analysis.importance import read_importances
from sweeps.analysis.time_spent import time_spent
from sweeps.analysis.trials import SweepTrials, trials_of
from sweeps.config.resolve import ResolvedExperiment
from sweeps.config.space import short_names
from sweeps.config.toml import flatten
from sweeps.errors import InputError
from sweeps.report.answer import Answer, TestScores, answer_of, read_test_scores
from sweeps.report.curves import CurveChart, curve_charts
from sweeps.report.figure import Figure
from sweeps.report.images import Image, images_of
from sweeps.report.methods import methods_paragraph
from sweeps.report.scatter import cost, history, slices
from sweeps.report.summary_figures import importance_figure, parallel_figure, time_figure
from sweeps.report.trials import ReportTrial, rank_complete, report_trials
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import TrialSnapshot, read_snapshot
from sweeps.text import number
from sweeps.trainer import charts, main_metrics, methods_text

_IN_ANSWER = {Kind.BEST, Kind.MARGIN}
SELECTED = 5
"""Trials whose curves the page shows at first: the best ones."""


@dataclass(frozen=True)
class SweepPart:
    """What a report says of one sweep.

    Attributes:
        name: the sweep's name.
        over: whether every planned trial has ended.
        answer: its best trial.
        test: the scores of its candidate on the test split; None if there are none.
        findings: its findings, but for those that the answer has.
        images: figures of some of its trials.
        methods: its methods paragraph.
        settings: the values that are the same in all its trials, by dotted path.
        trials: its trials.
    """

    name: str
    over: bool
    answer: Answer
    test: TestScores | None
    findings: Sequence[Finding]
    images: Sequence[Image]
    methods: str
    settings: Mapping[str, str]
    trials: Sequence[ReportTrial]


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        parts: its sweeps.
        metric: the objective of all of them.
        maximize: whether higher values are better.
        charts: which metrics by epoch share a chart.
        figures: all other figures.
        selected: the labels of the trials whose curves are shown at first.
        searched: the names of the searched hyperparameters, by dotted path.
    """

    parts: Sequence[SweepPart]
    metric: str
    maximize: bool
    charts: Sequence[CurveChart]
    figures: Sequence[Figure]
    selected: Sequence[str]
    searched: Mapping[str, str]

    @property
    def trials(self) -> list[ReportTrial]:
        """All trials."""
        return [trial for part in self.parts for trial in part.trials]


@dataclass(frozen=True)
class _Read:
    """A sweep as it was read."""

    sweep: Sweep
    trials: SweepTrials
    shown: list[ReportTrial]
    resolved: ResolvedExperiment | None

    @property
    def name(self) -> str:
        return self.sweep.paths.name


def report_of(sweeps: Sequence[Sweep]) -> Report:
    """Return the report of one sweep, or of several with the same objective.

    Raises:
        InputError: the sweeps optimize different metrics, so their values cannot be compared.
    """
    _refuse_other_objectives(sweeps)
    several = len(sweeps) > 1
    read = [_read(sweep, several=several) for sweep in sweeps]
    objective = sweeps[0].experiment.objective
    shown = [trial for each in read for trial in each.shown]
    paths = list(dict.fromkeys(path for each in read for path in each.trials.space.paths))
    names = {path: short_names(paths).get(path, path) for path in paths}
    return Report(
        parts=[_part(each) for each in read],
        metric=objective.metric,
        maximize=objective.maximize,
        charts=_charts(read, shown),
        figures=list(_figures(read, shown, names)),
        selected=_selected(read, several=several),
        searched=names,
    )


def _refuse_other_objectives(sweeps: Sequence[Sweep]) -> None:
    first = sweeps[0].experiment.objective
    for sweep in sweeps[1:]:
        objective = sweep.experiment.objective
        if objective != first:
            raise InputError(
                f"{sweep.paths.name} optimizes {objective.metric} ({objective.direction}) and "
                f"{sweeps[0].paths.name} {first.metric} ({first.direction}); compare sweeps with "
                "the same [objective]"
            )


def _read(sweep: Sweep, *, several: bool) -> _Read:
    snapshots = [read_snapshot(paths) for paths in sweep.paths.trials()]
    shown = report_trials(sweep, snapshots, several=several)
    resolved = None
    with suppress(InputError):  # the records remain when the trainer is gone
        resolved = sweep.resolved
    return _Read(sweep, trials_of(sweep, snapshots), shown, resolved)


def _part(read: _Read) -> SweepPart:
    sweep, trials = read.sweep, read.trials
    snapshots = trials.snapshots
    test = read_test_scores(sweep.paths)
    answer = answer_of(trials, read.resolved, sweep.experiment.reference, test)
    found = [each for each in find_all(sweep, snapshots) if each.kind not in _IN_ANSWER]
    folders = {t.label: s.paths for t, s in zip(read.shown, snapshots, strict=True)}
    about = "" if read.resolved is None else methods_text(read.resolved.trainer)
    return SweepPart(
        name=read.name,
        over=sweep.is_over(),
        answer=answer,
        test=test,
        findings=found,
        images=images_of(read.shown, folders, sweep.experiment.objective),
        methods=methods_paragraph(sweep, trials, about),
        settings=_common_settings(snapshots, trials.space.paths),
        trials=read.shown,
    )


def _common_settings(snapshots: Sequence[TrialSnapshot], searched: Sequence[str]) -> dict[str, str]:
    if not snapshots:
        return {}
    settings = flatten(snapshots[0].spec.config)
    return {path: number(v) for path, v in settings.items() if path not in searched}


def _charts(read: Sequence[_Read], shown: Sequence[ReportTrial]) -> list[CurveChart]:
    named: dict[str, Sequence[str]] = {}
    first = [read[0].sweep.experiment.objective.metric]
    for each in read:
        if each.resolved is not None:
            named |= charts(each.resolved.trainer)
            first += main_metrics(each.resolved.trainer)
    recorded = (name for trial in shown for row in trial.rows for name in row.metrics)
    return curve_charts(named, recorded, first)


def _figures(
    read: Sequence[_Read], shown: Sequence[ReportTrial], names: dict[str, str]
) -> Iterator[Figure]:
    objective = read[0].sweep.experiment.objective
    if any(trial.value is not None for trial in shown):
        yield history(shown, objective)
        spaces = {path: each.trials.space for each in read for path in each.trials.space.paths}
        for space in dict.fromkeys(spaces.values()):
            own = [path for path, where in spaces.items() if where is space]
            yield from slices(shown, space, {path: names[path] for path in own}, objective)
    if len(read) == 1:
        trials = read[0].trials
        importances = read_importances(read[0].sweep.paths, len(trials.complete))
        parallel = parallel_figure(shown, trials.space, names, objective)
        figures = (importance_figure(importances, names), parallel)
        yield from (figure for figure in figures if figure is not None)
    if any(trial.value is not None for trial in shown):
        yield cost(shown, objective)
    yield time_figure({each.name: time_spent(each.trials.snapshots) for each in read})


def _selected(read: Sequence[_Read], *, several: bool) -> list[str]:
    """Return the best trials: some of each sweep if there are several."""
    most = max(1, (SELECTED + 1) // len(read)) if several else SELECTED
    ranked = [rank_complete(each.shown, each.sweep.experiment.objective) for each in read]
    return [trial.label for own in ranked for trial in own[:most]]
