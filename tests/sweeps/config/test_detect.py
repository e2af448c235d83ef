"""Which cluster is detected on this host."""

from pathlib import Path

import pytest

from sweeps.config.cluster import read_cluster
from sweeps.config.detect import detect_cluster
from sweeps.errors import InputError


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    """A folder of cluster files: with no, one and two conditions, and without `[detect]`."""
    folder = tmp_path / "clusters"
    folder.mkdir()
    (folder / "anywhere.toml").write_text('[detect]\nexperiment = "small"\n')
    (folder / "never.toml").write_text('scheduler = "slurm"\n')
    study = tmp_path / "study"
    one = f'[detect]\nexperiment = "one"\nfolder = "{study}"\n'
    (folder / "one.toml").write_text(one)
    (folder / "two.toml").write_text(one.replace('"one"', '"two"') + 'command = "sh"\n')
    return folder


def test_a_cluster_is_detected_by_the_conditions_in_its_file(
    clusters: Path, tmp_path: Path
) -> None:
    assert detect_cluster(clusters) == ("anywhere", "small")
    (tmp_path / "study").mkdir()
    assert detect_cluster(clusters) == ("two", "two")
    (clusters / "two.toml").unlink()
    assert detect_cluster(clusters) == ("one", "one")


def test_if_no_cluster_is_detected_experiment_and_cluster_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"matches this host; .*give an experiment and --cluster"):
        detect_cluster(tmp_path)


def test_an_invalid_cluster_file_is_an_error_and_not_a_reason_for_another_choice(
    clusters: Path,
) -> None:
    (clusters / "one.toml").write_text('[detect]\nexperimnt = "one"\n')
    with pytest.raises(InputError, match=r"one\.toml: unknown key 'detect\.experimnt'; did you"):
        detect_cluster(clusters)


def test_a_mistake_in_a_cluster_file_matters_only_to_who_uses_it(clusters: Path) -> None:
    (clusters / "never.toml").write_text('scheduler = "slurm"\nno_such_key = 1\n')
    assert detect_cluster(clusters) == ("anywhere", "small")
    with pytest.raises(InputError, match="unknown key 'no_such_key'"):
        read_cluster("never", clusters)
