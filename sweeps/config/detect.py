"""Which cluster this host belongs to: each cluster file says how its cluster is detected."""

import shutil
from pathlib import Path

from pydantic import Field

from sweeps.config.toml import StrictModel, read_toml, validate
from sweeps.errors import InputError


class Detect(StrictModel):
    """How a cluster is detected, so that `make sweep` needs no arguments there."""

    experiment: str = Field(
        description="The default experiment on this cluster: the name of a file in `experiments/`, "
        "without `.toml`."
    )
    command: str | None = Field(
        None,
        description="A program that must be on the PATH. Without it, any PATH matches.",
    )
    folder: Path | None = Field(
        None,
        strict=False,
        description="A folder that must exist. Without it, no folder is required.",
    )

    def matches(self) -> bool:
        """Return whether this host meets the conditions; without conditions, any host does."""
        has_command = self.command is None or shutil.which(self.command) is not None
        return has_command and (self.folder is None or self.folder.expanduser().is_dir())

    @property
    def conditions(self) -> int:
        """How many conditions there are: of several that match, the one with the most wins."""
        return (self.command is not None) + (self.folder is not None)


class _OnlyDetect(StrictModel):
    detect: Detect


def detect_cluster(folder: Path) -> tuple[str, str]:
    """Return the name of the cluster that is detected here, and of its default experiment.

    Raises:
        InputError: no cluster file matches this host, or one cannot be read.
    """
    found = {file.stem: read_detect(file) for file in folder.glob("*.toml")}
    matching = {name: detect for name, detect in found.items() if detect and detect.matches()}
    if not matching:
        raise InputError(
            f"no cluster file in {folder} matches this host; run this command in the project's "
            "folder, or give an experiment and --cluster"
        )
    name = max(sorted(matching), key=lambda name: matching[name].conditions)
    return name, matching[name].experiment


def read_detect(path: Path) -> Detect | None:
    """Return the table `[detect]` of a cluster file; None if it has none.

    The rest of the file is not checked: a mistake there matters only to who uses that cluster.

    Raises:
        InputError: the file is not TOML, or the table is not valid.
    """
    table = read_toml(path).get("detect")
    return None if table is None else validate({"detect": table}, _OnlyDetect, str(path)).detect
