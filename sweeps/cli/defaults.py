"""The default experiment and cluster: each cluster file says how its cluster is recognised."""

from pathlib import Path

from sweeps.config.cluster import FOLDER, read_cluster
from sweeps.config.detect import detect_cluster

EXPERIMENTS = Path("experiments")


def choose_defaults(experiment: Path | None, cluster: str | None) -> tuple[Path, str]:
    """Return the path of the experiment file and the name of the cluster.

    Args:
        experiment: a file, or its name in `experiments/`; None for the default of the cluster
            that is given, or else of the one that is recognised here.
        cluster: a name in `experiments/clusters/`; None for the cluster that is recognised here.

    Raises:
        InputError: no cluster file recognises this machine, or a cluster file cannot be read.
    """
    if experiment is None and cluster is not None:
        detect = read_cluster(cluster).detect
        experiment = None if detect is None else Path(detect.experiment)
    if experiment is None or cluster is None:
        found, default = detect_cluster(FOLDER)
        experiment, cluster = experiment or Path(default), cluster or found
    if experiment.suffix != ".toml" and not experiment.is_file():
        experiment = EXPERIMENTS / f"{experiment}.toml"
    return experiment, cluster
