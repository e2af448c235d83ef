"""Whether the best model of a sweep has been promoted, so that nobody is told to do it again."""

import sys

import pytest

from sweeps.cli import main as cli
from sweeps.promotion.confirm import best_trials
from sweeps.promotion.pipeline import PromotionRequest, promote
from sweeps.promotion.promoted import is_promoted
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.promotion.conftest import with_promotion


def promotion(sweep: Sweep, *, dry_run: bool) -> None:
    request = PromotionRequest(best_trials(sweep), dry_run, force="", print_line=print)
    assert promote(sweep, request).passed


def next_lines(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return the end of `sweeps watch`, with the commands to type next."""
    runs = ["--runs", str(sweep.paths.runs.folder)]
    monkeypatch.setattr(sys, "argv", ["sweeps", "watch", "tiny", *runs])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main()
    return capsys.readouterr().out


def test_the_end_of_a_sweep_names_the_models_once_its_best_one_is_promoted(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promotion(searched, dry_run=True)
    assert not is_promoted(searched)
    assert "promote the best model with:\n" in next_lines(searched, monkeypatch, capsys)
    promotion(searched, dry_run=False)
    assert is_promoted(searched)
    out = next_lines(searched, monkeypatch, capsys)
    assert "the best model is promoted; see it with:\n" in out
    assert " models --runs " in out
    assert "promote the best" not in out
    more = with_promotion(searched, candidates=6)  # some of which were not trained again yet
    assert not is_promoted(more)


def test_a_sweep_without_a_confirmation_is_not_promoted(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, epochs=2, pruner="none")
    assert not is_promoted(sweep)
    worker_of(sweep).run()
    assert not is_promoted(sweep)
    assert best_trials(sweep, "best") == best_trials(sweep)[:1]
