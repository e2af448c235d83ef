"""docs/rangpur.md from end to end: the cluster file that ships, a trainer of milliseconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.conftest import ROOT, MakeSite, Site, wait_for
from tests.sweeps.conftest import EXPERIMENT

CONDA = """
conda() { echo "conda $*" >> %s; }
"""
PYTHON = """#!/bin/bash
exec %s "$@"
"""
STUDY = "/home/groups/comp3710/HipMRI_Study_open"


@pytest.fixture
def on_rangpur(make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A clone on Rangpur's login node: conda at home, the study's folder, `hipmri`, `rangpur`."""
    site = make_site()
    activate = tmp_path / "home" / "miniconda3" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(CONDA % (tmp_path / "conda.log"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    study = tmp_path / "HipMRI_Study_open"
    study.mkdir()
    shipped = (ROOT / "experiments" / "clusters" / "rangpur.toml").read_text()
    assert f'folder = "{STUDY}"' in shipped
    here = shipped.replace(STUDY, str(study))
    (tmp_path / "experiments" / "clusters" / "rangpur.toml").write_text(here)
    local = (ROOT / "experiments" / "clusters" / "local.toml").read_text()
    (tmp_path / "experiments" / "clusters" / "local.toml").write_text(local)
    asked = {"trials": 6, "epochs": 5, "seconds": 0.0, "pruner": "none"}
    text = EXPERIMENT.format(**asked, bug="false", gate_at=0)
    text = text.replace('name = "tiny"', 'name = "hipmri"')
    (tmp_path / "experiments" / "hipmri.toml").write_text(text)
    environment = tmp_path / "torch"
    (environment / "bin").mkdir(parents=True)
    python = environment / "bin" / "python"
    python.write_text(PYTHON % sys.executable)
    python.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (environment / ".vqvae-sweeps-installed").touch()
    return site


def make(site: Site, *words: str) -> str:
    """What `make` says to the words that a person types."""
    command = ["make", "-f", str(ROOT / "Makefile"), *words, f"VENV={site.folder / 'torch'}"]
    ended = subprocess.run(
        command, cwd=site.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_make_sweep_sees_that_it_is_on_rangpur(on_rangpur: Site) -> None:
    """Nothing is named but the environment."""
    said = make(on_rangpur, "sweep")
    assert len(re.findall(r"job \d+_\d sent to rangpur", said)) == 4
    sweep = on_rangpur.sweep("hipmri")
    assert sweep.plan.cluster.account == "comp3710"
    assert "conda activate torch" in (on_rangpur.folder / "conda.log").read_text()
    assert "6 of 6 trials" in make(on_rangpur, "status")


def commands_of_the_page() -> list[str]:
    """What docs/rangpur.md says to type, in its order, without the remarks behind it."""
    blocks = (ROOT / "docs" / "rangpur.md").read_text().split("```")[1::2]
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("sweeps ", "vqvae "))]


def typed(site: Site, line: str) -> subprocess.CompletedProcess[str]:
    """What a command of the page says, typed as it stands there."""
    command = [str(site.folder / "torch" / "bin" / "python"), "-m", *line.split()]
    return subprocess.run(
        command, cwd=site.folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_page_from_the_doctor_to_a_champion(on_rangpur: Site) -> None:
    """Every command on it in its order, but for the browser's and the model's own (no tensors)."""
    said = {}
    for line in commands_of_the_page():
        if line == "sweeps ui" or line.startswith("vqvae "):
            continue
        ended = typed(on_rangpur, line)
        assert ended.returncode == (line == "sweeps doctor"), ended.stdout + ended.stderr
        said[line] = ended.stdout
    assert list(said) == [
        "sweeps doctor",
        "sweeps plan hipmri",
        "sweeps run hipmri",
        "sweeps status",
        "sweeps sync",
        "sweeps promote hipmri",
    ]
    crosses = [line for line in said["sweeps doctor"].splitlines() if line.startswith("✗")]
    assert len(crosses) == 1  # the GPU is a pretended one: torch sees none
    assert "no CUDA device" in crosses[0]
    assert "#SBATCH --account=comp3710" in said["sweeps plan hipmri"]
    assert "6 of 6 trials" in said["sweeps status"]
    promoted = said["sweeps promote hipmri"]
    assert "training the best again from 3 seeds: hipmri-confirm" in promoted
    assert re.search(r"^champion: \S*hipmri version 1$", promoted, re.MULTILINE), promoted
    sweep, confirmed = on_rangpur.sweep("hipmri"), on_rangpur.sweep("hipmri-confirm")
    assert len(confirmed.paths.trials()) == 9
    for each in (sweep, confirmed):
        assert each.plan.cluster.partition == "comp3710"
        assert any(job.started.exists() for job in each.paths.jobs())  # in jobs, not here
    wait_for(on_rangpur.is_idle, on_rangpur.log)


def test_elsewhere_the_same_command_means_another_sweep(
    on_rangpur: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SLURM without the study's folder is some other cluster; nothing is sent to it unasked."""
    (on_rangpur.folder / "HipMRI_Study_open").rmdir()
    (on_rangpur.folder / "experiments" / "quickstart.toml").write_text("name = 'mended by nobody'")
    command = ["make", "-f", str(ROOT / "Makefile"), "sweep", f"VENV={on_rangpur.folder / 'torch'}"]
    ended = subprocess.run(
        command, cwd=on_rangpur.folder, capture_output=True, text=True, env=os.environ
    )
    assert ended.returncode == 2
    assert "quickstart.toml" in ended.stderr
    assert on_rangpur.testbed.queue() == []
