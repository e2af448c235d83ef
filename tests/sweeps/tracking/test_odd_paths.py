"""Runs in a folder whose path has characters that mean something in a URI."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.tracking.access import check_writable, readable_store
from sweeps.tracking.publisher import client_of
from sweeps.tracking.store import resolve_store
from sweeps.tracking.sync import publish_once
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.promotion.conftest import confirmed, with_promotion
from tests.sweeps.promotion.test_pipeline import ANY_SCORE, champion, registry_of, run_promotion

ODD = [
    "c#d",
    "a?b",
    "a?mode=ro",
    "a%20b",
    "a%3Fb",
    "50%",
    "my runs",
    "it's",
    'q"x',
    "a;b&c=d",
    "ü\nx",
]


def artifacts_are_found(sweep: Sweep) -> bool:
    store = resolve_store(sweep.paths.runs, None)
    client = client_of(store)
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id])
    return len(runs) > 2 and all(client.list_artifacts(run.info.run_id) for run in runs)


@pytest.mark.parametrize("name", ODD)
def test_a_sweep_is_published_promoted_moved_and_read(
    name: str,
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = make_sweep(runs=f"{name}/runs", trials=2, pruner="none")
    give_store(sweep)
    check_writable(resolve_store(sweep.paths.runs, None))
    check_writable(resolve_store(sweep.paths.runs, None))
    confirmed(sweep)
    assert run_promotion(with_promotion(sweep, **ANY_SCORE), force="test")[0].version == 1
    assert publish_once(sweep) is None
    assert artifacts_are_found(sweep)
    assert registry_of(sweep).fetch(champion(sweep)).is_relative_to(sweep.paths.runs.artifacts)
    assert {path.name for path in tmp_path.iterdir()} == {name, "tiny.toml"}
    assert {path.name for path in (tmp_path / name).iterdir()} == {"runs"}

    moved = RunsPaths(tmp_path / f"{name} moved" / "runs")
    moved.folder.parent.mkdir()
    shutil.move(sweep.paths.runs.folder, moved.folder)
    again = open_sweep(moved.sweep("tiny"))
    assert publish_once(again) is None
    assert artifacts_are_found(again)
    assert registry_of(again).fetch(champion(again)).is_relative_to(moved.artifacts)

    monkeypatch.setenv("SWEEPS_HOST", "login2")
    with readable_store(resolve_store(moved, None)) as copy:
        assert client_of(copy).get_experiment_by_name("tiny") is not None
    with closing(sqlite3.connect(moved.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
