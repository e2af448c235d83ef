"""Promotion on a real registry: decided, registered, fetched back, undone, cut short anywhere."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from sweeps.cli import main as cli
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.promotion.confirm import best_trials, check_promotable, confirm
from sweeps.promotion.entities import Version
from sweeps.promotion.pipeline import Outcome, PromotionRequest, promote
from sweeps.promotion.registry import CHAMPION, PREVIOUS, Registry, default_store
from sweeps.promotion.scores import reads_of_test_split
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_result
from sweeps.tracking.sync import store_of_sweep
from tests.sweeps import tiny
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of
from tests.sweeps.promotion.conftest import confirmed, with_promotion
from tests.sweeps.promotion.crashing import STEPS

ANY_SCORE = {"floors": {"test/score": -1.0}}


def put_up(
    sweep: Sweep, only: str | None = None, *, dry_run: bool = False, force: str = ""
) -> tuple[Outcome, str]:
    said: list[str] = []
    wish = PromotionRequest(
        best_trials(sweep, only), dry_run=dry_run, force=force, print_line=said.append
    )
    return promote(sweep, wish), "\n".join(said)


def registry_of(sweep: Sweep) -> Registry:
    return Registry(store_of_sweep(sweep), sweep.experiment.model_name)


def champion(sweep: Sweep) -> Version | None:
    return registry_of(sweep).version(CHAMPION)


def by_value(sweep: Sweep) -> list[str]:
    """Names of the trials, the worst first."""
    values = {paths.name: read_result(paths).value for paths in sweep.paths.trials()}
    return sorted(values, key=lambda name: values[name])


def test_the_first_candidate_becomes_the_champion_and_says_where_it_comes_from(
    searched: Sweep,
) -> None:
    outcome, said = put_up(searched)
    assert outcome == Outcome(passed=True, version=1)
    version = champion(searched)
    best = by_value(searched)[-1]
    assert version.number == 1
    assert version.tags["sweep.trial"] in by_value(searched)[-3:]
    assert version.tags["sweep.name"] == "tiny"
    assert version.tags["sweep.seeds"] == "1 2 3"
    assert version.tags["sweep.data"] == "tiny"
    assert version.tags["sweep.decision"] == "passed the gate"
    assert best in said
    assert "selection bias" in said
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    run = client.get_run(version.tags["sweep.confirmation_run"])
    above = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert above.info.run_name == "tiny-confirm"
    parent = client.get_run(above.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "tiny"
    assert run.info.experiment_id == parent.info.experiment_id


def test_the_promotion_is_a_run_with_the_test_data_as_its_input(searched: Sweep) -> None:
    put_up(searched)
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    number = client.get_model_version_by_alias("tests-tiny", CHAMPION)
    run = client.get_run(number.run_id)
    assert {"test/score", "test/score/case_000", "test/score/case_002"} <= run.data.metrics.keys()
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "tiny"
    assert given.dataset.digest == "0123456789abcdef"
    assert {tag.value for tag in given.tags} == {"test"}
    assert {"card.md", "decision.json", "scores.json", "evaluation"} <= {
        artifact.path for artifact in client.list_artifacts(run.info.run_id)
    }
    assert number.description.startswith("# tests-tiny")


def test_the_card_is_made_from_the_figures(searched: Sweep) -> None:
    put_up(searched)
    card = (registry_of(searched).fetch(champion(searched)).parent / "card.md").read_text()
    for word in ("case_002", "One number.", "Look at it.", "selection bias", "sweep.commit"):
        assert word in card
    assert "not published" not in card
    assert "this stands on 3 patients (10 slices) and 3 seeds, which is little" in card


def test_promoting_the_champion_again_changes_nothing(searched: Sweep) -> None:
    put_up(searched)
    outcome, said = put_up(searched)
    assert outcome == Outcome(passed=True, version=1)
    assert "it is the champion already: tests-tiny version 1" in said
    assert len(registry_of(searched).versions()) == 1


def test_worse_is_refused_and_better_is_promoted_and_rolled_back(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = with_promotion(make_sweep(trials=6, pruner="none"), **ANY_SCORE)
    give_store(sweep)
    confirmed(sweep)
    worst, best = by_value(sweep)[0], by_value(sweep)[-1]
    confirmed(sweep, worst)
    confirmed(sweep, best)
    assert put_up(sweep, worst)[0].version == 1
    assert put_up(sweep, best)[0].version == 2
    registry = registry_of(sweep)
    assert registry.version(PREVIOUS).number == 1

    refused, said = put_up(sweep, worst)
    assert refused == Outcome(passed=False, version=None)
    assert "✗ test/score" in said
    assert "case_000 -" in said
    assert champion(sweep).number == 2

    assert registry.roll_back() == (2, 1)
    assert (champion(sweep).number, registry.version(PREVIOUS).number) == (1, 2)
    assert put_up(sweep, best)[0].version == 2  # the version that is there, on a new decision
    assert len(registry.versions()) == 2
    assert champion(sweep).number == 2


def test_a_floor_that_is_not_reached_refuses_and_a_reason_overrides(searched: Sweep) -> None:
    strict = with_promotion(searched, floors={"test/score": 2.0})
    outcome, said = put_up(strict)
    assert not outcome.passed
    assert "at least 2" in said
    assert champion(searched) is None
    outcome, said = put_up(strict, force="the floor was a typing error")
    assert outcome.version == 1
    assert champion(searched).tags["sweep.decision"] == "forced: the floor was a typing error"
    assert champion(searched).tags["sweep.by"] in said
    kept = registry_of(searched).fetch(champion(searched)).parent / "decision.json"
    assert json.loads(kept.read_text())["forced"] == "the floor was a typing error"


def test_a_dry_run_decides_and_changes_nothing(searched: Sweep) -> None:
    outcome, said = put_up(searched, dry_run=True)
    assert outcome == Outcome(passed=True, version=None)
    assert "✓ test/score" in said
    assert registry_of(searched).versions() == []


def test_what_is_said_of_a_version_is_what_was_decided_last(searched: Sweep) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    put_up(lenient, worst)
    put_up(searched)
    registry = registry_of(searched)
    registry.roll_back()
    strict = with_promotion(searched, floors={"test/score": 2.0})
    assert put_up(strict, force="we know better")[0].version == 2
    version = champion(searched)
    assert version.tags["sweep.decision"] == "forced: we know better"
    assert "sweep.rolled_back" not in version.tags
    folder = registry.fetch(version).parent
    assert json.loads((folder / "decision.json").read_text())["forced"] == "we know better"
    assert "we know better" in (folder / "card.md").read_text()


def test_test_data_that_change_meanwhile_are_noticed(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    put_up(lenient, worst)
    put_up(searched, dry_run=True)
    known = tiny.data_of
    monkeypatch.setattr(tiny, "data_of", lambda config: known(config) | {"digest": "another"})
    (searched.paths.promotion / "champions").rename(searched.paths.promotion / "away")
    with pytest.raises(EnvironmentFailure, match=r"the test data changed since .* run this again"):
        put_up(searched)
    assert put_up(searched)[0].version == 2


def test_what_cannot_be_promoted_is_refused_before_any_training(
    searched: Sweep, make_sweep: MakeSweep
) -> None:
    check_promotable(searched)
    with pytest.raises(InputError, match="tiny-confirm confirms tiny; promote that one"):
        check_promotable(open_sweep(searched.paths.confirmation))
    over_seeds = EXPERIMENT.replace("[space]\n", '[space]\n"training.seed" = [1, 2]\n', 1)
    sweep = make_sweep("seeds", text=over_seeds)
    with pytest.raises(InputError, match=r"searches over training\.seed: no seed is new to it"):
        check_promotable(sweep)
    sweep = make_sweep("losses", text=EXPERIMENT.replace("val/score", "val/loss"))
    with pytest.raises(InputError, match="val/loss is not measured on the test split"):
        check_promotable(sweep)


def test_an_interrupted_dry_run_goes_on_as_one(
    searched: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "sweeps",
        "promote",
        "tiny",
        "--runs",
        str(searched.paths.runs.folder),
        "--dry-run",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    with contextlib.suppress(SystemExit):
        cli.main()
    command = open_sweep(searched.paths.confirmation).plan.command
    assert "--dry-run" in command
    said = capsys.readouterr().out
    assert "it may be promoted; do so with:" in said
    assert "--dry-run" not in said
    assert registry_of(searched).versions() == []


def test_every_look_at_the_test_split_is_counted(searched: Sweep) -> None:
    runs = searched.paths.runs
    assert reads_of_test_split(runs, "tiny") == []
    put_up(searched, dry_run=True)
    assert [read.why for read in reads_of_test_split(runs, "tiny")] == ["candidate"]
    _, said = put_up(searched)
    assert [read.why for read in reads_of_test_split(runs, "tiny")] == ["candidate", "fetched back"]
    assert "has been read once, for 1 model" in said


def test_a_damaged_champion_is_not_beaten_but_named(searched: Sweep) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    put_up(lenient, worst)
    program = registry_of(searched).fetch(champion(searched)) / "model.pt2"
    program.write_bytes(program.read_bytes()[:-1])
    # Its figures are known from when it was fetched back, so it can still be held against.
    assert put_up(searched, dry_run=True)[0].passed
    (searched.paths.promotion / "champions").rename(searched.paths.promotion / "away")
    outcome, said = put_up(searched, dry_run=True)
    assert not outcome.passed
    assert "the champion cannot be scored" in said
    assert "model.pt2 is damaged" in said


def test_a_version_from_elsewhere_is_refused(searched: Sweep) -> None:
    put_up(searched)
    registry = registry_of(searched)
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    ours = client.get_model_version("tests-tiny", "1")
    with default_store(store_of_sweep(searched).uri):
        client.create_model_version("tests-tiny", source=ours.source, run_id=ours.run_id)
    foreign = registry.versions()[-1]
    with pytest.raises(InputError, match="version 2 was not registered by a promotion"):
        registry.fetch(foreign)
    manifest = registry.fetch(champion(searched)) / "package.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(InputError, match="is not the one that was registered"):
        registry.fetch(champion(searched))


def crash(sweep: Sweep, step: str) -> None:
    command = [sys.executable, "-m", "tests.sweeps.promotion.crashing", step]
    ended = subprocess.run([*command, str(sweep.paths.folder)], capture_output=True, timeout=100)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step_the_old_champion_stands_and_running_it_again_completes(
    step: str, make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=6, pruner="none")
    give_store(sweep)
    confirmed(sweep)
    lenient = with_promotion(sweep, **ANY_SCORE)
    worst = by_value(sweep)[0]
    confirmed(sweep, worst)
    assert put_up(lenient, worst)[0].version == 1

    crash(sweep, step)

    registry = registry_of(sweep)
    assert champion(sweep).number == (2 if step == "crowned" else 1)
    package = registry.fetch(champion(sweep))
    config = sweep.resolved.trainer.config()
    out = sweep.paths.folder / "seen"
    out.mkdir()
    assert sweep.resolved.trainer.evaluate(config, package, out).scores  # it still loads

    assert put_up(sweep)[0] == Outcome(passed=True, version=2)
    assert [v.number for v in registry.versions()] == [1, 2]
    assert (champion(sweep).number, registry.version(PREVIOUS).number) == (2, 1)
    client = MlflowClient(tracking_uri=store_of_sweep(sweep).uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    assert len(client.search_logged_models([experiment])) == 2
    names = [run.info.run_name for run in client.search_runs([experiment], max_results=100)]
    assert len(names) == len(set(names))


def test_a_rollback_that_was_killed_half_way_is_ended_by_the_next(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    confirmed(searched, by_value(searched)[0])
    put_up(lenient, by_value(searched)[0])
    put_up(searched)
    registry = registry_of(searched)
    move = registry._set_alias
    monkeypatch.setattr(
        registry, "_set_alias", lambda alias, n: alias == PREVIOUS or move(alias, n)
    )
    registry.roll_back()  # as if it had been killed between the two
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (1, 1)
    assert registry_of(searched).roll_back() == (1, 2)
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (2, 1)


def test_a_promotion_killed_between_the_aliases_leaves_a_way_back(searched: Sweep) -> None:
    lenient = with_promotion(searched, floors={"test/score": -1.0}, seeds=2)
    names = by_value(searched)
    for name in names[:2]:
        confirmed(lenient, name)
        put_up(lenient, name)
    assert champion(searched).number == 2
    crash(searched, "champion")
    registry = registry_of(searched)
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (2, 2)
    assert registry.roll_back() == (2, 1)
    assert registry.version(PREVIOUS).number == 2


def test_there_is_nothing_to_roll_back_to_at_first(searched: Sweep) -> None:
    with pytest.raises(InputError, match="has no champion"):
        registry_of(searched).roll_back()
    put_up(searched)
    with pytest.raises(InputError, match="version 1 is the first champion"):
        registry_of(searched).roll_back()


def test_two_promotions_at_once_end_with_one_champion(searched: Sweep) -> None:
    command = [sys.executable, "-m", "sweeps", "promote", "--runs", str(searched.paths.runs.folder)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [version.number for version in registry_of(searched).versions()] == [1]
    assert sum("the champion already" in output for output in outputs) == 1
    for output in outputs:
        assert "take it back with: " in output


def test_confirming_more_trials_adds_to_what_is_there(searched: Sweep) -> None:
    again = searched.paths.confirmation
    assert len(again.trials()) == 9
    before = {paths.name for paths in again.trials()}
    last = by_value(searched)[0]
    more = confirm(searched, best_trials(searched, last), searched.plan.cluster, ("promote",))
    worker_of(more).run()
    assert before < {paths.name for paths in again.trials()}
    assert len(again.trials()) == 12
    configs = [atomic.read_json(paths.config)["config"]["training"] for paths in again.trials()]
    assert all(config["seed"] in {1, 2, 3} for config in configs)


def test_a_sweep_that_is_not_over_is_not_promoted_from(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=4, pruner="none")
    worker_of(sweep, trials=2).run()
    with pytest.raises(InputError, match="is not over: 2 of 4 trials have ended; let it end"):
        best_trials(sweep)
    with pytest.raises(InputError, match="no complete trial '0009-x'"):
        best_trials(sweep, "0009-x")
    assert best_trials(sweep, by_value(sweep)[0])


def test_data_that_changed_are_not_confirmed_on(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(searched.resolved.trainer), "prepare", lambda *_: "other")
    with pytest.raises(InputError, match="the data are not those of sweep tiny any more"):
        confirm(searched, best_trials(searched), searched.plan.cluster, ())


def test_a_registered_model_is_found_by_its_uri(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sweeps.promotion.fetch import fetch

    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"there is no .*mlflow.db; run this where the runs are"):
        fetch("models:/tests-tiny@champion")
    monkeypatch.setenv("SWEEPS_RUNS", str(searched.paths.runs.folder))
    with pytest.raises(InputError, match="no model of that name"):
        fetch("models:/tests-tiny@champion")
    put_up(searched)
    for uri in ("models:/tests-tiny@champion", "models:/tests-tiny/1"):
        assert (fetch(uri) / "package.json").is_file()
    for uri, reason in {
        "models:/tests-tiny@best": "1 versions, aliases: champion",
        "models:/tests-tiny/2": "1 versions",
        "models:/../x@champion": "write models:/<name>@champion",
    }.items():
        with pytest.raises(InputError, match=reason):
            fetch(uri)
