"""Which tracking URIs are refused before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.storage.paths import RunsPaths
from sweeps.tracking.store import resolve_store
from sweeps.tracking.uri import check_uri
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.tiny import Tiny
from tests.sweeps.tracking.test_ui import free_port

__all__ = ["run"]

WRONG = {
    "foo://x": "is not a store that MLflow knows",
    "htp://name": "is not a store that MLflow knows",
    "localhost:5000": "is not a store that MLflow knows",
    "uc:x": "is not a store that MLflow knows",
    "databrick": "is a folder",
    "./mlruns": "is a folder, which MLflow does not accept as a store any more",
    "file:///nowhere/mlruns": "is a folder",
    "http:/x": "names no server",
    "http://": "names no server",
    "http://[x": "is not a URI",
    "http://name:99999": "is not a URI",
    "http://a b": "has a character that no URI has",
    "sqlite:///": "names no file",
    "sqlite://": "names no file",
    "sqlite:////dev/null/x.db": "cannot be written (/dev/null)",
    "sqlite:////tmp": "is not a file",
}
POSSIBLE = [
    "http://no-such-host.invalid",
    "https://name.example:5000/prefix",
    "postgresql://host/db",
    "mysql+pymysql://host/db",
    "databricks",
    "databricks://profile",
    "sqlite:////tmp/new/mlflow.db",
]


@pytest.mark.parametrize("uri", WRONG)
def test_a_uri_that_can_never_work_is_refused(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match="the valid ones are https") as error:
        check_uri(resolve_store(RunsPaths(tmp_path), None))
    assert str(error.value).startswith(f"MLFLOW_TRACKING_URI: {uri!r} {WRONG[uri]}")
    with pytest.raises(InputError, match=r"^tracking in the cluster file: "):
        check_uri(resolve_store(RunsPaths(tmp_path), uri))


@pytest.mark.parametrize("uri", POSSIBLE)
def test_a_uri_that_may_work_is_accepted(uri: str, tmp_path: Path) -> None:
    check_uri(resolve_store(RunsPaths(tmp_path), uri))


def test_the_database_of_the_runs_by_another_path_is_that_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = RunsPaths(tmp_path / "runs")
    runs.folder.mkdir()
    (tmp_path / "mlflow.db").symlink_to("runs/mlflow.db")
    for uri in ("sqlite:///runs/mlflow.db", "sqlite:///mlflow.db", f"sqlite:///{runs.database}"):
        assert resolve_store(runs, uri).is_database_here
    assert not resolve_store(runs, "sqlite:///other.db").is_database_here


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("uri", ["file:///old/mlruns", "foo://x"])
def test_a_left_over_uri_is_refused_before_the_data_are_made(
    command: str,
    uri: str,
    run: Run,
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(Tiny, "prepare", lambda self, configs: pytest.fail("made"))
    status, out, err = run(command, str(write_experiment()), "--runs", str(tmp_path / "runs"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"MLFLOW_TRACKING_URI: {uri!r} is " in err
    assert not (tmp_path / "runs").exists()


def test_run_says_which_store_it_uses_and_that_it_does_not_answer(
    run: Run,
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("sweeps.cli.run.submit_and_watch", lambda *_, **__: False)
    status, out, err = run(
        "run", str(write_experiment()), "--cluster", "local", "--runs", str(tmp_path / "runs")
    )
    assert status == 0
    assert f"the runs are recorded in {uri} (MLFLOW_TRACKING_URI)\n" in out
    assert err.startswith(f"warning: {uri} does not answer (")
    assert "remove MLFLOW_TRACKING_URI and send the runs later with: sweeps sync" in err
    assert err.count("\n") == 1


def test_ui_says_how_runs_in_another_database_are_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    uri = f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    status, out, err = run("ui", "--runs", str(tmp_path / "runs"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(
        f"(MLFLOW_TRACKING_URI), not here; to see them: mlflow ui --backend-store-uri {uri}\n"
    )
