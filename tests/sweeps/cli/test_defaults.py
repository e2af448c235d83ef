"""Which experiment and cluster are meant where none is given."""

from pathlib import Path

import pytest

from sweeps.cli.defaults import choose_defaults


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose machine is detected as `here`, with a cluster `far` beside it."""
    clusters = tmp_path / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    (clusters / "here.toml").write_text('[detect]\nexperiment = "small"\n')
    far = '[detect]\nexperiment = "large"\ncommand = "no-such-command"\n'
    (clusters / "far.toml").write_text(far)
    (clusters / "plain.toml").write_text("cpus = 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("experiment", "cluster", "expected"),
    [
        (None, None, ("experiments/small.toml", "here")),
        ("other", None, ("experiments/other.toml", "here")),
        (None, "far", ("experiments/large.toml", "far")),
        (None, "plain", ("experiments/small.toml", "plain")),
        ("mine.toml", "far", ("mine.toml", "far")),
    ],
)
def test_the_default_experiment_is_that_of_the_cluster(
    project: Path, experiment: str | None, cluster: str | None, expected: tuple[str, str]
) -> None:
    path, name = choose_defaults(None if experiment is None else Path(experiment), cluster)
    assert (str(path), name) == expected
