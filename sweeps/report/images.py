"""The trainer's own figures of a few trials, in the page itself."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeps.config.experiment import Objective
from sweeps.report.trials import ReportTrial, rank_complete
from sweeps.storage.paths import TrialPaths
from sweeps.storage.trial_record import trained_attempts

MOST = 5
"""Figures in a report: each may be some hundred kilobytes."""


@dataclass(frozen=True)
class Image:
    """The figure of one trial.

    Attributes:
        title: which trial, and why it is shown.
        trial: the trial's label.
        data: the PNG file as a data URL.
    """

    title: str
    trial: str
    data: str


def images_of(
    trials: Sequence[ReportTrial], paths: Mapping[str, TrialPaths], objective: Objective
) -> list[Image]:
    """Return the figures of the best trial, of the best of each group, and of the worst.

    Args:
        trials: the trials of one sweep.
        paths: their folders, by label.
        objective: what decides which trial is the best.
    """
    images = []
    for reason, trial in _worth_seeing(trials, objective):
        figures = [attempt.figure for attempt in trained_attempts(paths[trial.label])]
        file = next((figure for figure in figures if figure.exists()), None)
        if file is not None:
            encoded = base64.b64encode(file.read_bytes()).decode("ascii")
            title = f"{reason}: trial {trial.label}, {objective.metric} {trial.value:.4f}"
            images.append(Image(title, trial.label, f"data:image/png;base64,{encoded}"))
    return images[:MOST]


def _worth_seeing(
    trials: Sequence[ReportTrial], objective: Objective
) -> Iterator[tuple[str, ReportTrial]]:
    """Yield trials, each once, with the reason why they are shown."""
    ranked = rank_complete(trials, objective)
    if not ranked:
        return
    yield "The best trial", ranked[0]
    best_of_group: dict[str, ReportTrial] = {}
    for trial in ranked:
        best_of_group.setdefault(trial.group, trial)
    others = [trial for trial in best_of_group.values() if trial is not ranked[0]]
    for trial in others[: MOST - 2]:
        yield f"The best with {trial.group}", trial
    if ranked[-1] not in [ranked[0], *others]:
        yield "The worst complete trial", ranked[-1]
