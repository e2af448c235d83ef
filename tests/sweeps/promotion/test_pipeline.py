"""Promotion with a real registry: decision, registration, rollback, kills at every step."""

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from sweeps.cli import main as cli
from sweeps.cli.promote import _print_outcome
from sweeps.cli.promotion_forecast import forecast
from sweeps.config.cluster import Cluster
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.promotion.candidate import rank_candidates
from sweeps.promotion.confirm import best_trials, confirm
from sweeps.promotion.entities import CHAMPION, MANIFEST, PREVIOUS, Version, describe_origin
from sweeps.promotion.pipeline import Outcome, PromotionRequest, promote
from sweeps.promotion.promotable import check_promotable
from sweeps.promotion.registry import Registry, default_store
from sweeps.promotion.scores import reads_of_test_split
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_lookup import find_trial
from sweeps.storage.trial_record import read_result, read_spec
from sweeps.tracking.sync import store_of_sweep
from tests.sweeps import tiny
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of
from tests.sweeps.promotion.conftest import confirmed, with_promotion
from tests.sweeps.promotion.crashing import STEPS

ANY_SCORE = {"floors": {"test/score": -1.0}}


def run_promotion(
    sweep: Sweep, only: str | None = None, *, dry_run: bool = False, force: str = ""
) -> tuple[Outcome, str]:
    lines: list[str] = []
    request = PromotionRequest(
        best_trials(sweep, only), dry_run=dry_run, force=force, print_line=lines.append
    )
    return promote(sweep, request), "\n".join(lines)


def registry_of(sweep: Sweep) -> Registry:
    return Registry(store_of_sweep(sweep), sweep.experiment.model_name)


def champion(sweep: Sweep) -> Version | None:
    return registry_of(sweep).version(CHAMPION)


def by_value(sweep: Sweep) -> list[str]:
    """The names of the trials, the worst first."""
    values = {paths.name: read_result(paths).value for paths in sweep.paths.trials()}
    return sorted(values, key=lambda name: values[name])


def test_the_first_candidate_becomes_the_champion_with_its_lineage(
    searched: Sweep,
) -> None:
    outcome, output = run_promotion(searched)
    assert outcome == Outcome(passed=True, version=1)
    version = champion(searched)
    best = by_value(searched)[-1]
    assert version.number == 1
    assert version.tags["sweep.trial"] in by_value(searched)[-3:]
    assert version.tags["sweep.name"] == "tiny"
    assert version.tags["sweep.seeds"] == "1 2 3"
    assert version.tags["sweep.data"] == "tiny"
    assert version.tags["sweep.decision"].startswith(
        "passed every check of the promotion (test/score is "
    )
    assert version.tags["sweep.decision"].endswith(", and at least 0.2 is required)")
    best_trial = find_trial(
        open_sweep(searched.paths.confirmation), version.tags["sweep.confirmed_by"]
    )
    assert version.tags["sweep.seed"] == str(read_spec(best_trial).values["training.seed"])
    assert re.fullmatch(
        r"with new seeds, val/score was (the same as|\d\.\d{4} (higher|lower) than) in the search",
        version.tags["sweep.selection_bias_in_words"],
    )
    assert best in output
    assert version.tags["sweep.selection_bias_in_words"] in output
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    run = client.get_run(version.tags["sweep.confirmation_run"])
    confirmation = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert confirmation.info.run_name == "tiny-confirm"
    parent = client.get_run(confirmation.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "tiny"
    assert run.info.experiment_id == parent.info.experiment_id


def test_a_promotion_is_a_run_with_the_test_data_as_its_input(searched: Sweep) -> None:
    run_promotion(searched)
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    version = client.get_model_version_by_alias("tests-tiny", CHAMPION)
    run = client.get_run(version.run_id)
    assert {"test/score", "test/score/case_000", "test/score/case_002"} <= run.data.metrics.keys()
    (dataset_input,) = run.inputs.dataset_inputs
    assert dataset_input.dataset.name == "tiny"
    assert dataset_input.dataset.digest == "0123456789abcdef"
    assert {tag.value for tag in dataset_input.tags} == {"test"}
    assert {"card.md", "decision.json", "scores.json", "evaluation"} <= {
        artifact.path for artifact in client.list_artifacts(run.info.run_id)
    }
    assert version.description.startswith("# tests-tiny")


def test_the_card_shows_scores_lineage_and_decision(searched: Sweep) -> None:
    run_promotion(searched)
    card = (registry_of(searched).fetch(champion(searched)).parent / "card.md").read_text()
    for word in ("case_002", "One number.", "Look at it.", "in the search", "sweep.commit"):
        assert word in card
    assert "not published" not in card
    assert "this decision is based on 3 patients (10 slices) and 3 seeds, which is little" in card


def test_promoting_the_champion_again_changes_nothing(searched: Sweep) -> None:
    run_promotion(searched)
    outcome, output = run_promotion(searched)
    assert outcome == Outcome(passed=True, version=1, was_champion=True)
    assert "this model is the champion already: tests-tiny version 1" in output
    assert len(registry_of(searched).versions()) == 1


def test_a_worse_candidate_is_refused_and_a_better_one_promoted_and_rolled_back(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = with_promotion(make_sweep(trials=6, pruner="none"), **ANY_SCORE)
    give_store(sweep)
    confirmed(sweep)
    worst, best = by_value(sweep)[0], by_value(sweep)[-1]
    confirmed(sweep, worst)
    confirmed(sweep, best)
    assert run_promotion(sweep, worst)[0].version == 1
    assert run_promotion(sweep, best)[0].version == 2
    registry = registry_of(sweep)
    assert registry.version(PREVIOUS).number == 1

    refused, output = run_promotion(sweep, worst)
    assert refused == Outcome(passed=False, version=None)
    assert "✗ test/score" in output
    assert "case_000 -" in output
    assert champion(sweep).number == 2

    assert registry.roll_back() == (2, 1)
    assert (champion(sweep).number, registry.version(PREVIOUS).number) == (1, 2)
    assert run_promotion(sweep, best)[0].version == 2  # the existing version, after a new decision
    assert len(registry.versions()) == 2
    assert champion(sweep).number == 2


def test_a_missed_floor_refuses_the_candidate_and_force_overrides_it(searched: Sweep) -> None:
    strict = with_promotion(searched, floors={"test/score": 2.0})
    outcome, output = run_promotion(strict)
    assert not outcome.passed
    assert "at least 2 is required" in output
    assert champion(searched) is None
    outcome, output = run_promotion(strict, force="the floor was a typing error")
    assert outcome.version == 1
    decision = champion(searched).tags["sweep.decision"]
    assert "although a check failed (test/score is " in decision
    assert decision.endswith("at least 2 is required): the floor was a typing error")
    assert champion(searched).tags["sweep.by"] in output
    stored = registry_of(searched).fetch(champion(searched)).parent / "decision.json"
    assert json.loads(stored.read_text())["forced"] == "the floor was a typing error"


def test_a_dry_run_decides_and_changes_nothing(searched: Sweep) -> None:
    outcome, output = run_promotion(searched, dry_run=True)
    assert outcome == Outcome(passed=True, version=None)
    assert "✓ test/score" in output
    assert registry_of(searched).versions() == []


def test_a_version_shows_its_latest_decision(searched: Sweep) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    run_promotion(lenient, worst)
    run_promotion(searched)
    registry = registry_of(searched)
    registry.roll_back()
    strict = with_promotion(searched, floors={"test/score": 2.0})
    assert run_promotion(strict, force="we know better")[0].version == 2
    version = champion(searched)
    decision = version.tags["sweep.decision"]
    assert "although a check failed (test/score is " in decision
    assert decision.endswith(", and at least 2 is required): we know better")
    assert "sweep.rolled_back" not in version.tags
    folder = registry.fetch(version).parent
    assert json.loads((folder / "decision.json").read_text())["forced"] == "we know better"
    assert "we know better" in (folder / "card.md").read_text()


def test_test_data_that_change_during_a_promotion_are_noticed(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    run_promotion(lenient, worst)
    run_promotion(searched, dry_run=True)
    original = tiny.data_of
    monkeypatch.setattr(tiny, "data_of", lambda config: original(config) | {"digest": "another"})
    (searched.paths.promotion / "champions").rename(searched.paths.promotion / "away")
    with pytest.raises(
        EnvironmentFailure, match=r"the test data changed since .* run the same command again"
    ):
        run_promotion(searched)
    assert run_promotion(searched)[0].version == 2


def test_a_sweep_that_cannot_be_promoted_from_is_refused_before_any_training(
    searched: Sweep, make_sweep: MakeSweep
) -> None:
    check_promotable(searched)
    with pytest.raises(
        InputError, match="tiny-confirm is the confirmation of tiny; promote tiny instead"
    ):
        check_promotable(open_sweep(searched.paths.confirmation))
    over_seeds = EXPERIMENT.replace("[space]\n", '[space]\n"training.seed" = [1, 2]\n', 1)
    sweep = make_sweep("seeds", text=over_seeds)
    with pytest.raises(InputError, match=r"searches over training\.seed, so no seed is new to it"):
        check_promotable(sweep)
    sweep = make_sweep("losses", text=EXPERIMENT.replace("val/score", "val/loss"))
    with pytest.raises(InputError, match="val/loss is not measured on the test split"):
        check_promotable(sweep)


def test_an_interrupted_dry_run_is_resumed_as_a_dry_run(
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
    output = capsys.readouterr().out
    assert "the model may be promoted; promote it with:\n" in output
    assert "--dry-run" not in output
    assert registry_of(searched).versions() == []


@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--force", "again"]])
def test_a_promotion_of_the_champion_says_that_nothing_changes(
    searched: Sweep,
    option: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_promotion(searched)
    runs = ["--runs", str(searched.paths.runs.folder)]
    monkeypatch.setattr(sys, "argv", ["sweeps", "promote", "tiny", *runs, *option])
    with contextlib.suppress(SystemExit):
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "every training of the promotion is done; it scores the best model and decides"
    )
    at = lines.index("this model is the champion already: tests-tiny version 1")
    same, origin, files, folder, with_, use = lines[at + 1 :]
    assert (same, with_) == ("nothing has changed", "use the model with:")
    assert origin == describe_origin(champion(searched))
    assert files == "Its files are in this folder:"
    assert (Path(folder.strip()) / MANIFEST).is_file()
    assert use.startswith("  SWEEPS_RUNS=")
    words = ["-m", "tiny", "use", "models:/tests-tiny@champion"]
    assert shlex.split(use)[-4:] == words
    assert [version.number for version in registry_of(searched).versions()] == [1]


def test_every_read_of_the_test_split_is_recorded(searched: Sweep) -> None:
    runs = searched.paths.runs
    assert reads_of_test_split(runs, "tiny") == []
    run_promotion(searched, dry_run=True)
    assert [read.why for read in reads_of_test_split(runs, "tiny")] == ["candidate"]
    _, output = run_promotion(searched)
    assert [read.why for read in reads_of_test_split(runs, "tiny")] == ["candidate", "fetched back"]
    assert "has been read once, for 1 model" in output


def test_a_damaged_champion_is_named_and_the_candidate_refused(searched: Sweep) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    worst = by_value(searched)[0]
    confirmed(searched, worst)
    run_promotion(lenient, worst)
    program = registry_of(searched).fetch(champion(searched)) / "model.pt2"
    program.write_bytes(program.read_bytes()[:-1])
    # Its scores were stored when it was verified, so candidates can still be compared with it.
    assert run_promotion(searched, dry_run=True)[0].passed
    (searched.paths.promotion / "champions").rename(searched.paths.promotion / "away")
    outcome, output = run_promotion(searched, dry_run=True)
    assert not outcome.passed
    assert "the champion cannot be scored" in output
    assert "model.pt2 is damaged" in output


def test_a_version_that_no_promotion_registered_is_refused(searched: Sweep) -> None:
    run_promotion(searched)
    registry = registry_of(searched)
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    version = client.get_model_version("tests-tiny", "1")
    with default_store(store_of_sweep(searched).uri):
        client.create_model_version("tests-tiny", source=version.source, run_id=version.run_id)
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
def test_killed_before_any_step_the_old_champion_stays_and_the_next_run_completes(
    step: str, make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=6, pruner="none")
    give_store(sweep)
    confirmed(sweep)
    lenient = with_promotion(sweep, **ANY_SCORE)
    worst = by_value(sweep)[0]
    confirmed(sweep, worst)
    assert run_promotion(lenient, worst)[0].version == 1

    crash(sweep, step)

    registry = registry_of(sweep)
    assert champion(sweep).number == (2 if step == "champion set" else 1)
    package = registry.fetch(champion(sweep))
    config = sweep.resolved.trainer.config()
    out = sweep.paths.folder / "evaluation"
    out.mkdir()
    assert sweep.resolved.trainer.evaluate(config, package, out).scores  # it still loads

    was_champion = step == "champion set"
    assert run_promotion(sweep)[0] == Outcome(True, version=2, was_champion=was_champion)
    assert [v.number for v in registry.versions()] == [1, 2]
    assert (champion(sweep).number, registry.version(PREVIOUS).number) == (2, 1)
    client = MlflowClient(tracking_uri=store_of_sweep(sweep).uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    assert len(client.search_logged_models([experiment])) == 2
    names = [run.info.run_name for run in client.search_runs([experiment], max_results=100)]
    assert len(names) == len(set(names))


def test_a_rollback_killed_between_the_aliases_is_completed_by_the_next(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = with_promotion(searched, **ANY_SCORE)
    confirmed(searched, by_value(searched)[0])
    run_promotion(lenient, by_value(searched)[0])
    run_promotion(searched)
    registry = registry_of(searched)
    set_alias = registry._set_alias
    monkeypatch.setattr(
        registry, "_set_alias", lambda alias, n: alias == PREVIOUS or set_alias(alias, n)
    )
    registry.roll_back()  # as if it had been killed between the two
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (1, 1)
    assert registry_of(searched).roll_back() == (1, 2)
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (2, 1)


def test_a_promotion_killed_between_the_aliases_can_be_rolled_back(searched: Sweep) -> None:
    lenient = with_promotion(searched, floors={"test/score": -1.0}, seeds=2)
    names = by_value(searched)
    for name in names[:2]:
        confirmed(lenient, name)
        run_promotion(lenient, name)
    assert champion(searched).number == 2
    crash(searched, "champion")
    registry = registry_of(searched)
    assert (champion(searched).number, registry.version(PREVIOUS).number) == (2, 2)
    assert registry.roll_back() == (2, 1)
    assert registry.version(PREVIOUS).number == 2


def test_the_first_champion_cannot_be_rolled_back(searched: Sweep) -> None:
    with pytest.raises(InputError, match="has no champion"):
        registry_of(searched).roll_back()
    run_promotion(searched)
    with pytest.raises(
        InputError, match="version 1 is the first champion; there is no previous one"
    ):
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
    for words in ("champion: tests-tiny version 1\n", "nothing has changed\n"):
        assert sum(words in output for output in outputs) == 1


@pytest.mark.parametrize(("replaced", "undone"), [(None, False), (1, True)])
def test_only_a_promotion_that_replaced_a_champion_says_how_it_is_undone(
    searched: Sweep, replaced: int | None, undone: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_outcome(searched, Outcome(True, 2, replaced=replaced), dry_run=False)
    assert ("undo with:\n" in capsys.readouterr().out) == undone


def test_the_selection_bias_is_said_in_words_in_either_direction(searched: Sweep) -> None:
    (first, *_) = rank_candidates(searched, best_trials(searched))
    for value, words in ((-0.013, "0.0130 higher than"), (0.5, "0.5000 lower than")):
        other = replace(first, value=first.mean + value)
        assert other.describe_selection_bias() == (
            f"with new seeds, val/score was {words} in the search"
        )
    same = replace(first, value=first.mean + 4e-5).describe_selection_bias()
    assert same == "with new seeds, val/score was the same as in the search"


def test_a_promotion_says_first_what_it_will_train_and_how_long(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=4, epochs=3, pruner="none", seconds=0.01)
    worker_of(sweep).run()
    trials, cluster = best_trials(sweep)[:2], Cluster(workers=2)
    assert forecast(sweep, trials, cluster) == (
        "the promotion trains 2 trials again with 3 new seeds each: 6 trainings of 3 epochs, "
        "about 0 s of training with 2 workers, at the pace of the search; "
        "then it scores the best model on the test split and decides"
    )
    for trial in trials:
        for attempt in trial.attempts():
            rows = attempt.metrics.read_text()
            attempt.metrics.write_text(re.sub(r'"seconds": *[\d.]+', '"seconds":100.0', rows))
    assert "about 15 min of training with 2 workers" in forecast(sweep, trials, cluster)
    assert "about 5 min of training with 6 workers" in forecast(sweep, trials, Cluster(workers=8))
    confirm(sweep, trials[:1], sweep.plan.cluster, ("promote", "tiny"))
    worker_of(open_sweep(sweep.paths.confirmation)).run()
    assert "each: 6 trainings of 3 epochs, 3 of them left, about" in forecast(
        sweep, trials, cluster
    )
    done = "every training of the promotion is done; it scores the best model and decides"
    assert forecast(sweep, trials[:1], cluster) == done


def test_confirming_more_trials_adds_to_the_existing_confirmation(searched: Sweep) -> None:
    paths = searched.paths.confirmation
    assert len(paths.trials()) == 9
    before = {trial.name for trial in paths.trials()}
    last = by_value(searched)[0]
    more = confirm(searched, best_trials(searched, last), searched.plan.cluster, ("promote",))
    worker_of(more).run()
    assert before < {trial.name for trial in paths.trials()}
    assert len(paths.trials()) == 12
    configs = [atomic.read_json(trial.config)["config"]["training"] for trial in paths.trials()]
    assert all(config["seed"] in {1, 2, 3} for config in configs)


def test_a_sweep_that_is_not_over_cannot_be_promoted_from(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=4, pruner="none")
    worker_of(sweep, trials=2).run()
    with pytest.raises(InputError, match="is not over: 2 of 4 trials have ended; resume it"):
        best_trials(sweep)
    with pytest.raises(InputError, match="no complete trial '0009-x'"):
        best_trials(sweep, "0009-x")
    assert best_trials(sweep, by_value(sweep)[0])


def test_no_confirmation_is_run_on_data_that_have_changed(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(searched.resolved.trainer), "prepare", lambda *_: "other")
    with pytest.raises(InputError, match="the data have changed since sweep tiny was started"):
        confirm(searched, best_trials(searched), searched.plan.cluster, ())


def test_a_registered_model_is_found_by_its_uri(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sweeps.promotion.fetch import fetch

    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"mlflow.db does not exist; run this where the runs are"):
        fetch("models:/tests-tiny@champion")
    monkeypatch.setenv("SWEEPS_RUNS", str(searched.paths.runs.folder))
    with pytest.raises(InputError, match="has no model of this name"):
        fetch("models:/tests-tiny@champion")
    run_promotion(searched)
    for uri in ("models:/tests-tiny@champion", "models:/tests-tiny/1"):
        assert (fetch(uri) / "package.json").is_file()
    for uri, reason in {
        "models:/tests-tiny@best": "the model has 1 versions and the aliases: champion",
        "models:/tests-tiny/2": "is not a registered version; the model has 1 versions",
        "models:/../x@champion": "is not a valid model URI; write models:/<name>@champion",
    }.items():
        with pytest.raises(InputError, match=reason):
            fetch(uri)
