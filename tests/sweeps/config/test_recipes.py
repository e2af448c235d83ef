"""`docs/recipes.md`: each experiment is read and planned as it stands there."""

import itertools
import re
from pathlib import Path

import pytest

from sweeps.cli.next_trials import next_proposals, trials_left
from sweeps.config.cluster import Cluster
from sweeps.config.resolve import read_experiment
from sweeps.errors import InputError
from sweeps.storage.paths import RunsPaths
from sweeps.storage.progress import Exhausted, exhausted_reason
from sweeps.storage.sweep import Plan, Sweep
from sweeps.storage.trial_record import read_spec
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of

PAGE = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
RECIPES = {
    re.search(r'name = "(.*)"', text).group(1): text
    for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
}


def read(folder: Path, name: str) -> Sweep:
    path = folder / f"{name}.toml"
    path.write_text(RECIPES[name])
    resolved = read_experiment(path)
    paths = RunsPaths(folder / "runs").sweep(name)
    return Sweep(paths, Plan(resolved.experiment, Cluster(), fingerprint="", commit=""))


def points(folder: Path, name: str) -> list[tuple[object, ...]]:
    return [tuple(trial.values.values()) for trial in next_proposals(read(folder, name), 12)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_planned_with_as_many_trials_as_it_says(name: str, tmp_path: Path) -> None:
    sweep = read(tmp_path, name)
    proposals = next_proposals(sweep, 4)
    assert trials_left(sweep) == sweep.experiment.trials
    assert len(proposals) == min(4, sweep.experiment.trials)
    assert {trial.values.keys() == set(sweep.resolved.space.paths) for trial in proposals} == {True}


def test_the_grid_has_every_combination(tmp_path: Path) -> None:
    expected = itertools.product(("adam", "sgd"), (32, 64), (128, 256, 512))
    assert points(tmp_path, "grid") == list(expected)
    assert points(tmp_path, "seeds") == list(itertools.product(("adam", "sgd"), (0, 1, 2)))


def test_only_listed_trials_are_proposed(tmp_path: Path) -> None:
    assert points(tmp_path, "listed") == [("adam", 2e-4), ("adam", 1e-3), ("sgd", 1e-2)]


def test_the_conditional_range_follows_the_choice(tmp_path: Path) -> None:
    found = points(tmp_path, "conditional")
    assert {optimizer for optimizer, _ in found} == {"adam", "sgd"}
    for optimizer, rate in found:
        low, high = {"adam": (1e-5, 1e-3), "sgd": (1e-3, 1e-1)}[optimizer]
        assert low <= rate <= high


def test_ranges_of_integers_have_integers(tmp_path: Path) -> None:
    for rate, size, blocks, warmup, batch in points(tmp_path, "ranges"):
        assert isinstance(size, int)
        assert isinstance(blocks, int)
        assert isinstance(warmup, float)
        assert 1e-5 <= rate <= 1e-2
        assert batch in (16, 32, 64)


def test_only_the_recipe_with_a_pruner_prunes(tmp_path: Path) -> None:
    pruning = {n for n in RECIPES if read(tmp_path, n).experiment.pruner.kind != "none"}
    assert pruning == {"pruning"}


def test_a_grid_over_a_range_is_refused_with_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(RECIPES["ranges"] + '[sampler]\nkind = "grid"\n')
    message = r"\[sampler\] kind = .grid. tries .*'training.learning_rate' is a range .* as a list"
    with pytest.raises(InputError, match=message):
        read_experiment(tmp_path / "x.toml")


def test_a_grid_tries_every_combination_that_was_not_enqueued(make_sweep: MakeSweep) -> None:
    rates = '[space."training.learning_rate"]'
    text = EXPERIMENT.partition(rates)[0].replace("startup_trials = 4", 'kind = "grid"')
    text += '"training.learning_rate" = [0.2, 0.1]\n'
    text += '[[enqueue]]\n"training.batch_size" = 64\n"training.learning_rate" = 0.1\n'
    for trials in (5, 100):  # raised to more than there are
        sweep = make_sweep(trials=trials, pruner="none", epochs=1, text=text)
        worker_of(sweep).run()
    found = [tuple(read_spec(trial).values.values()) for trial in sweep.paths.trials()]
    first = ("adam", 64, 0.1)
    grid = itertools.product(("adam", "sgd"), (4, 16, 64), (0.2, 0.1))
    assert found == [first, *(values for values in grid if values != first)]
    assert exhausted_reason(sweep.paths) is Exhausted.EVERY_POINT
