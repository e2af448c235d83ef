"""The name of the cluster that SLURM's commands ask here: several clusters may share one home."""

import json
import os
import re
import shutil
from pathlib import Path

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm import queries
from sweeps.jobs.slurm.answers import read_cluster_name
from sweeps.jobs.slurm.rate_limit import file_server_time, run_if_allowed
from sweeps.storage.paths import SlurmPaths

KNOWN_SECONDS = 86400.0
"""How long the name is believed on one host before SLURM is asked again."""
FAILED_SECONDS = 600.0
"""How long SLURM is not asked again where it did not tell the name: the question counts against the
two commands a minute, and would leave none for the queue."""


def cluster_name(slurm: SlurmPaths) -> str:
    """Return the ClusterName of the cluster that SLURM's commands ask on this host.

    It does not wait: if SLURM may not be asked now, an older answer is used.

    Returns:
        The name in small letters, as SLURM itself has it; empty if it is not known, or if the
        commands ask several clusters.
    """
    if chosen := os.environ.get("SLURM_CLUSTERS"):
        return chosen.lower() if re.fullmatch(r"[^\s,]+", chosen) and chosen != "all" else ""
    if in_job := os.environ.get("SLURM_CLUSTER_NAME"):
        return in_job.lower()
    return _configured_name() or _asked_name(slurm)


def _configured_name() -> str:
    """Return the name in the file that SLURM_CONF names; empty if there is none.

    Without SLURM_CONF the commands know where their file is; any other one may be of no use.
    """
    try:
        file = Path(os.environ["SLURM_CONF"])
        return read_cluster_name(file.read_text(encoding="utf-8", errors="backslashreplace"))
    except (KeyError, OSError):
        return ""


def _asked_name(slurm: SlurmPaths) -> str:
    # A host may have the commands of several clusters: `module load` changes which are found.
    commands = (hostname(), shutil.which("scontrol"), os.environ.get("SLURM_CONF"))
    key = " ".join(str(part) for part in commands if part)
    known = atomic.read_json(slurm.clusters) or {}
    name, asked_at = known.get(key, ("", None))
    try:
        now = file_server_time(slurm)
    except EnvironmentFailure:
        return str(name)
    if asked_at is not None and abs(now - asked_at) < KNOWN_SECONDS:
        return str(name)
    try:
        answer = run_if_allowed(slurm, *queries.CONFIGURATION)
    except EnvironmentFailure:  # whoever asks SLURM for something else says so
        now, answer = now - KNOWN_SECONDS + FAILED_SECONDS, ""
    if answer is None:
        return str(name)
    name = read_cluster_name(answer) or name
    atomic.write(slurm.clusters, json.dumps(known | {key: (name, now)}))
    return str(name)
