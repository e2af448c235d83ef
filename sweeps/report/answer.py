"""The answer of a sweep: its best configuration, how good it is, and against what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.analysis.best import best_findings
from sweeps.analysis.finding import Kind, score
from sweeps.analysis.trials import CompleteTrial, SweepTrials
from sweeps.config.experiment import Reference
from sweeps.config.resolve import ResolvedExperiment
from sweeps.config.toml import flatten
from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths
from sweeps.storage.promotion_paths import scored_candidates
from sweeps.text import count, number


@dataclass(frozen=True)
class Answer:
    """The best trial of a sweep.

    Attributes:
        metric: the objective.
        value: its value, as text.
        trial: the trial's name; empty if no trial is complete.
        settings: its searched values by short name, as text.
        sentences: how far it is ahead, and how it compares; what is not known is said, too.
    """

    metric: str
    value: str
    trial: str
    settings: Mapping[str, str]
    sentences: Sequence[str]


@dataclass(frozen=True)
class TestScores:
    """The scores of a model on the test split, as a promotion stored them."""

    scores: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    patients: int

    __test__ = False  # not a class of tests


def read_test_scores(paths: SweepPaths) -> TestScores | None:
    """Return the scores of the latest candidate; None if no promotion has scored one."""
    for candidate in reversed(scored_candidates(paths)):
        content: dict[str, Any] = atomic.read_json(candidate.scores) or {}
        if content:
            return TestScores(content["scores"], content["intervals"], len(content["patients"]))
    return None


def answer_of(
    trials: SweepTrials,
    resolved: ResolvedExperiment | None,
    reference: Reference | None,
    test: TestScores | None,
) -> Answer:
    """Return the answer of a sweep.

    Args:
        trials: the trials of the sweep.
        resolved: the experiment with its trainer; None if the trainer cannot be imported here.
        reference: the published figure to compare with.
        test: the scores on the test split.
    """
    metric = trials.objective.metric
    if not trials.complete:
        text = "No trial is complete yet, so there is no best one."
        return Answer(metric, "none yet", "", {}, [text])
    best = trials.complete[0]
    margins = [each.text for each in best_findings(trials) if each.kind is Kind.MARGIN]
    sentences = [
        *margins,
        *_on_test_split(test, metric),
        *_against_default(trials, best, resolved),
        *_against_reference(best, metric, reference, test),
    ]
    settings = {trials.short(path): number(value) for path, value in best.values.items()}
    return Answer(metric, score(best.value), best.paths.name, settings, sentences)


def _on_test_split(test: TestScores | None, metric: str) -> Iterator[str]:
    if test is None:
        yield "The test split has not been read for this sweep: sweeps promote measures it."
        return
    name = f"test/{metric.rpartition('/')[2]}"
    if name not in test.scores:
        return
    text = f"The model trained again for a promotion has {name} {score(test.scores[name])}"
    if name in test.intervals:
        low, high = test.intervals[name]
        patients = count(test.patients, "patient")
        text += f" (95 % interval over {patients}: {score(low)} to {score(high)})"
    yield f"{text}."


def _against_default(
    trials: SweepTrials, best: CompleteTrial, resolved: ResolvedExperiment | None
) -> Iterator[str]:
    """Yield how the best trial compares with the configuration that a person would start with."""
    if resolved is None:
        return
    base = flatten(resolved.base.model_dump(mode="json"))
    default = {path: base[path] for path in trials.space.paths}
    settings = ", ".join(trials.setting(path, value) for path, value in default.items())
    same = [trial for trial in trials.complete if dict(trial.values) == default]
    if not same:
        yield (
            f"No complete trial has the default values ({settings}), so the gain over them is not "
            "known; an entry of [[enqueue]] with no values tries them."
        )
    elif same[0] is best:
        yield f"The best trial is the one with the default values ({settings})."
    else:
        gain = score(abs(best.value - same[0].value))
        yield (
            f"It is {gain} better than trial {same[0].paths.name} with the default values "
            f"({settings}), which reached {score(same[0].value)}."
        )


def _against_reference(
    best: CompleteTrial, metric: str, reference: Reference | None, test: TestScores | None
) -> Iterator[str]:
    if reference is None:
        return
    named = reference.metric or metric
    value = best.value if named == metric else (test.scores.get(named) if test else None)
    published = f"The published {named} is {score(reference.value)} ({reference.source})"
    if value is None:
        yield f"{published}; this sweep has no {named} yet."
    else:
        difference = f"{value - reference.value:+.4f}"
        yield f"{published}; here it is {score(value)}, a difference of {difference}."
