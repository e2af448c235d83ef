"""Passwords and tokens are read from the environment only, and are written nowhere."""

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import InputError
from sweeps.text import one_line
from sweeps.tracking.store import resolve_store
from sweeps.tracking.sync import publish_once
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.conftest import MakeSweep, worker_of

__all__ = ["run"]  # the fixture
SECRET = "s3cret-and-long"
URIS = (
    f"https://user:{SECRET}@mlflow.example.org",
    f"http://{SECRET}@mlflow.example.org/path",
    f"postgresql://user:{SECRET}@db.example.org/mlflow",
)


@pytest.mark.parametrize("uri", URIS)
def test_a_cluster_file_with_a_password_is_refused_and_not_repeated(
    run: Run,
    uri: str,
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    clusters = tmp_path / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    (clusters / "lab.toml").write_text(f'tracking = "{uri}"\n')
    status, out, err = run("run", str(write_experiment()), "--cluster", "lab")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "lab.toml: tracking: a URI with a user name or a password" in err
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in err
    assert SECRET not in err
    assert not (tmp_path / "runs").exists()


def test_a_password_in_a_uri_of_the_environment_is_refused_too(
    run: Run, make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URIS[0])
    status, _, err = run("models", "some", "--runs", str(sweep.paths.runs.folder))
    assert (status, err.count("\n")) == (2, 1)
    assert "MLFLOW_TRACKING_URI: a URI with a user name or a password" in err
    assert SECRET not in err
    with pytest.raises(InputError, match="set MLFLOW_TRACKING_USERNAME"):
        resolve_store(sweep.paths.runs, None)


def test_an_error_with_such_a_uri_does_not_show_the_password() -> None:
    for uri in URIS:
        assert SECRET not in one_line(f"cannot reach {uri}/api: refused")
    assert one_line("mail me@example.org, see https://a.example/b@c") == (
        "mail me@example.org, see https://a.example/b@c"
    )


@pytest.mark.parametrize(
    "uri", ["https://mlflow.example.org/a@b", "sqlite:////runs/me@home/mlflow.db"]
)
def test_a_uri_without_a_password_is_accepted(uri: str) -> None:
    assert Cluster(tracking=uri).tracking == uri


@pytest.fixture
def refusing_server() -> Iterator[tuple[str, list[str]]]:
    """The URI of a server that refuses every request, and the credentials that it received."""
    received: list[str] = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("Authorization", ""))
            content = f"who is {self.headers.get('Host')}?".encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 (http.server's own name)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()
    thread.join()


def test_credentials_in_the_environment_are_sent_and_never_written(
    make_sweep: MakeSweep,
    refusing_server: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    uri, received = refusing_server
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    problem = publish_once(sweep)
    encoded = base64.b64encode(f"alice:{SECRET}".encode()).decode()
    assert f"Basic {encoded}" in received
    assert problem is not None
    assert "401" in problem
    files = [p.read_bytes() for p in sweep.paths.runs.folder.rglob("*") if p.is_file()]
    out, err = capfd.readouterr()
    written = b"".join([*files, problem.encode(), out.encode(), err.encode()])
    assert len(files) > 5
    assert SECRET.encode() not in written
    assert encoded.encode() not in written
