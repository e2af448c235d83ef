"""Which hyperparameter mattered, and how much that stands on."""

from pathlib import Path

import pytest

from sweeps.analysis.importance import (
    MOST,
    Importances,
    importance_findings,
    read_importances,
    sample_of,
    write_importances,
)
from sweeps.config.experiment import Experiment, Objective
from sweeps.search.study import Evaluation, Study, importances
from sweeps.storage.paths import SweepPaths
from tests.sweeps.analysis.records import SPACE, complete, point, sweep_of

EXPERIMENT = Experiment(
    name="x", trials=1, trainer="a:b", space=SPACE, objective=Objective(metric="score")
)
GRID = [
    point(optimizer, size, rate * (1 if optimizer == "adam" else 100))
    for optimizer in ("adam", "sgd")
    for size in (8, 16, 32)
    for rate in (2e-4, 1e-3, 5e-3)
]


def sentence(given: Importances | None) -> str:
    return "".join(finding.text for finding in importance_findings(sweep_of(), given))


@pytest.mark.parametrize("path", ["t.optimizer", "t.batch_size"])
def test_the_parameter_that_makes_the_value_has_all_importance(path: str) -> None:
    values = {"adam": 1.0, "sgd": 2.0, 8: 1.0, 16: 2.0, 32: 3.0}
    shares = importances(EXPERIMENT, [Evaluation(p, values[p[path]]) for p in GRID])
    assert set(shares) == {"t.optimizer", "t.batch_size", "t.rate"}  # cases are one name
    assert shares[path] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_a_parameter_with_cases_is_judged_over_all_of_them() -> None:
    """Optuna alone leaves such parameters out: no trial has those of all cases."""
    low = [p for p in GRID if p["t.rate"] in {2e-4, 2e-2}]
    shares = importances(EXPERIMENT, [Evaluation(p, float(p in low)) for p in GRID])
    assert shares["t.rate"] > 0.9


def test_equal_values_have_no_importances() -> None:
    assert importances(EXPERIMENT, [Evaluation(p, 1.0) for p in GRID]) == {}
    assert sentence(Importances(18, 18, {})) == ""


@pytest.mark.parametrize(
    "cases",
    [
        {"adam": [1, 2], "sgd": {"low": 3, "high": 9}},
        {"adam": [0.5, 2], "sgd": {"low": 3, "high": 9, "log": True}},
        {"adam": ["auto", "off"], "sgd": {"low": 3, "high": 9}},
    ],
)
def test_cases_of_different_kinds_are_folded(cases: dict[str, object]) -> None:
    space = {"t.o": ["adam", "sgd"], "t.x": {"depends_on": "t.o", "cases": cases}}
    experiment = EXPERIMENT.model_copy(update={"space": space})
    points = [{"t.o": "adam", "t.x": x} for x in cases["adam"]]
    points += [{"t.o": "sgd", "t.x": x} for x in (3, 5, 9)]
    shares = importances(experiment, [Evaluation(p, float(at)) for at, p in enumerate(points)])
    assert set(shares) == {"t.o", "t.x"}


def test_few_trials_have_a_warning() -> None:
    shares = {"t.rate": 0.2, "t.optimizer": 0.8}
    assert sentence(Importances(6, 6, shares)) == (
        "optimizer mattered most (importance 0.80 by fANOVA), then rate 0.20. This stands on 6 "
        "complete trials: not reliable below 20."
    )
    assert sentence(Importances(20, 20, shares)).endswith("This stands on 20 complete trials.")
    assert sentence(Importances(900, 300, shares)).endswith("on 300 of 900 complete trials.")
    assert sentence(None) == ""


def test_of_very_many_trials_some_of_all_times_are_used() -> None:
    every = sweep_of(*(complete(number, 0.1) for number in range(2 * MOST))).complete
    assert [each.paths.number for each in sample_of(every)] == list(range(0, 2 * MOST, 2))
    assert len(sample_of(every[:5])) == 5


def test_stored_importances_are_those_of_as_many_trials(tmp_path: Path) -> None:
    paths, stored = SweepPaths(tmp_path), Importances(6, 6, {"t.rate": 1.0})
    assert read_importances(paths, 6) is None
    write_importances(paths, stored)
    assert read_importances(paths, 6) == stored
    assert read_importances(paths, 7) is None


def test_a_plot_of_importances_is_made_only_of_enough_trials(tmp_path: Path) -> None:
    study, page = Study(SweepPaths(tmp_path), EXPERIMENT, stale_after=5), tmp_path / "study.html"
    values = [Evaluation(p, float(at)) for at, p in enumerate(GRID)]
    title, parallel = "Importances (fANOVA)", "Parallel coordinates"
    assert not {title, parallel} & {*study.write_plots(page)}
    made = study.write_plots(page, values)
    assert parallel in made
    assert title not in made
    assert {title, parallel} <= {*study.write_plots(page, values, importances=True)}
