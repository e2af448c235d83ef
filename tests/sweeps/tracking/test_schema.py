"""A database of another version of MLflow: one line that says what to do."""

import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.storage.sweep import Sweep
from sweeps.tracking.sync import publish_once
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.conftest import MakeSweep, worker_of

__all__ = ["run"]  # the fixture

BEFORE_LAST = """
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
script = ScriptDirectory.from_config(_get_alembic_config(""))
print(script.get_revision(script.get_heads()[0]).down_revision)
"""


@pytest.fixture(scope="module")
def older_revision() -> str:
    command = [sys.executable, "-W", "ignore", "-c", BEFORE_LAST]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def set_revision(sweep: Sweep, revision: str) -> None:
    with closing(sqlite3.connect(sweep.paths.runs.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def commands(sweep: Sweep) -> list[list[str]]:
    runs = ["--runs", str(sweep.paths.runs.folder)]
    return [[name, *runs] for name in ("models", "sync", "ui")] + [["rollback", "x", *runs]]


@pytest.mark.parametrize("folder", ["runs", "my runs", "a%20b", "a?b"])
def test_every_command_names_the_command_that_upgrades(
    folder: str,
    older_revision: str,
    run: Run,
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
) -> None:
    sweep = make_sweep(runs=folder, trials=1)
    give_store(sweep)
    worker_of(sweep).run()
    set_revision(sweep, older_revision)
    database = sweep.paths.runs.database
    line = re.escape(f"{database} was written by an older MLflow than ")
    for command in commands(sweep):
        status, _, err = run(*command)
        assert status == 1
        assert re.search(line, err), err
        assert "Traceback" not in err
        assert "<database_uri>" not in err
    problem = str(publish_once(sweep))
    upgrade = problem.partition("then run: ")[2]
    words = shlex.split(upgrade)
    if folder in {"runs", "my runs"}:
        assert words[-3:] == ["db", "upgrade", f"sqlite:///{database}"]
    else:
        assert words[:3] == ["cd", str(database.parent), "&&"]
        assert words[-3:] == ["db", "upgrade", "sqlite:///mlflow.db"]


@pytest.mark.parametrize("folder", ["my runs", "a?b"])
def test_the_upgrade_command_can_be_pasted(
    folder: str,
    older_revision: str,
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = make_sweep(runs=folder, trials=1)
    give_store(sweep)
    set_revision(sweep, older_revision)
    upgrade = str(publish_once(sweep)).partition("then run: ")[2]
    monkeypatch.chdir(tmp_path)
    fake = tmp_path / "bin" / "mlflow"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\npwd > "$OUT"; printf \'%s\\n\' "$@" >> "$OUT"\n')
    fake.chmod(0o755)
    program = re.sub(r"\S*mlflow db", f"{fake} db", upgrade)
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    subprocess.run(["sh", "-c", program], check=True)
    where, *words = (tmp_path / "out").read_text().splitlines()
    assert words[:2] == ["db", "upgrade"]
    assert (Path(where) / words[2].removeprefix("sqlite:///")) == sweep.paths.runs.database


def test_a_newer_database_is_not_to_be_upgraded(
    run: Run, make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=1)
    give_store(sweep)
    worker_of(sweep).run()
    set_revision(sweep, "ffffffffffff")
    for command in commands(sweep):
        status, _, err = run(*command)
        assert status == 1
        assert "was written by a newer MLflow than" in err
        assert "which is installed here; install that version" in err
        assert "db upgrade" not in err
