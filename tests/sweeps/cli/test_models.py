"""The registered models, and the table of one model's versions."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sweeps.cli.models import models_table, versions_table
from sweeps.promotion.entities import Version
from sweeps.promotion.registry import Registry, default_store
from sweeps.storage.sweep import Sweep
from sweeps.tracking.publisher import client_of
from sweeps.tracking.store import Store
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.conftest import EXPERIMENT, MakeSweep
from tests.sweeps.promotion.conftest import confirmed, with_promotion
from tests.sweeps.promotion.test_pipeline import ANY_SCORE, registry_of, run_promotion

__all__ = ["run"]  # the fixture


@pytest.mark.parametrize("width", [20, 80])
def test_nothing_is_cut_on_a_narrow_terminal(width: int) -> None:
    tags = {
        "sweep.metric": "test/ssim",
        "sweep.test": "0.755123",
        "sweep.mean": "0.767721",
        "sweep.spread": "0.002812",
        "sweep.name": "quickstart",
        "sweep.trial": "0008-afa899b8",
        "sweep.decision": "passed the gate",
    }
    versions = [Version(12, frozenset({"champion"}), tags, 1_795_574_832_205)]
    table = models_table({"vqvae-quickstart": versions, "m" * 64: versions})
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    assert "…" not in out.getvalue()
    for shown in ("vqvae-quickstart", "12", "test/ssim 0.7551", "2026-11-25", "02:47 UTC"):
        assert shown in out.getvalue()
    out = io.StringIO()
    Console(file=out, width=width).print(versions_table("vqvae-quickstart", versions))
    text = " ".join(out.getvalue().split())
    assert "…" not in text
    for shown in ("12", "champion", "0.7551", "0.7677 ± 0.0028", "0008-afa899b8", "registered"):
        assert shown in text


def test_without_a_name_all_models_of_the_store_are_shown(
    run: Run, make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    give_store(sweep)
    runs = ("--runs", str(sweep.paths.runs.folder))
    status, _, err = run("models", *runs)
    assert (status, err.count("\n")) == (2, 1)
    assert "has no registered model; promote a model with: make promote" in err
    confirmed(sweep)
    lenient = with_promotion(sweep, **ANY_SCORE)
    run_promotion(lenient)
    other = make_sweep(
        trials=1, text=EXPERIMENT.replace('name = "tiny"', 'name = "later"'), name="later"
    )
    assert other.paths.name == "later"  # the latest sweep has no model
    status, out, _ = run("models", *runs)
    assert status == 0
    assert "model tests-tiny" in out
    assert "version 1 passed every check of the promotion (test/score is " in out
    (tiny,) = registry_of(sweep).versions()
    number = int(tiny.tags["sweep.trial"].partition("-")[0])
    weights = int(tiny.tags["sweep.confirmed_by"].partition("-")[0])
    assert (
        f"It is trial {number} of tiny, trained again with the new seeds 1, 2, 3. "
        f"The weights are those of tiny-confirm:{weights}, seed {tiny.tags['sweep.seed']}.\n"
    ) in out
    lines = out.splitlines()
    folder = Path(lines[lines.index("Its files are in this folder:") + 1].strip())
    assert (folder / "package.json").is_file()
    assert (
        lines[lines.index("To use it, give a command this --model:") + 1]
        == "  models:/tests-tiny/1"
    )
    client_of(Store(sweep.paths.runs)).create_registered_model("empty")
    assert run("models", *runs)[1] in out  # a name without versions is not shown
    second = Registry(Store(sweep.paths.runs), "second")
    version = registry_of(sweep).versions()[0]
    client = client_of(Store(sweep.paths.runs))
    client.create_registered_model("second")
    source = client.get_model_version("tests-tiny", "1").source
    with default_store(Store(sweep.paths.runs).uri):
        client.create_model_version("second", source=source)
    assert second.versions()[0].number == version.number
    _, out, _ = run("models", *runs)
    rows = [line.split() for line in out.splitlines() if line.split()[:1] != []]
    assert ["second", "1", "none"] in rows
    assert any(row[:4] == ["tests-tiny", "1", "1", "test/score"] for row in rows)
    assert "sweeps models NAME" in out
    assert "version 1 passed every check" in run("models", "tests-tiny", *runs)[1]
    status, _, err = run("models", "test-tiny", *runs)
    assert (status, err.count("\n")) == (2, 1)
    assert "has no model 'test-tiny'; did you mean 'tests-tiny'?" in err
