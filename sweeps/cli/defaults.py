"""What to run where, for what was not given: each cluster file says where it is recognised."""

from pathlib import Path

from sweeps.config.cluster import FOLDER, detect_cluster

EXPERIMENTS = Path("experiments")


def choose_defaults(experiment: Path | None, cluster: str | None) -> tuple[Path, str]:
    """The experiment's file and the cluster's name.

    Args:
        experiment: a file, or its name in `experiments/`; None for the cluster's default.
        cluster: a name in `experiments/clusters/`; None for the one that is recognised here.

    Raises:
        InputError: no cluster file recognises this machine, or one cannot be read.
    """
    if experiment is None or cluster is None:
        found, default = detect_cluster(FOLDER)
        experiment, cluster = experiment or Path(default), cluster or found
    if experiment.suffix != ".toml" and not experiment.is_file():
        experiment = EXPERIMENTS / f"{experiment}.toml"
    return experiment, cluster
