"""The commands of docs/rangpur.md, with the shipped cluster file and a trainer of milliseconds."""

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
    """A folder like a clone on Rangpur's login node: conda, the study's folder, the two files."""
    site = make_site()
    activate = tmp_path / "home" / "miniconda3" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(CONDA % (tmp_path / "conda.log"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    study = tmp_path / "HipMRI_Study_open"
    study.mkdir()
    shipped = (ROOT / "experiments" / "clusters" / "rangpur.toml").read_text()
    assert f'folder = "{STUDY}"' in shipped
    # The doctor names a job that has fewer cores than it requests, as on this machine.
    adapted = shipped.replace(STUDY, str(study)).replace("cpus = 4", "cpus = 1")
    (tmp_path / "experiments" / "clusters" / "rangpur.toml").write_text(adapted)
    local = (ROOT / "experiments" / "clusters" / "local.toml").read_text()
    (tmp_path / "experiments" / "clusters" / "local.toml").write_text(local)
    settings = {"trials": 6, "epochs": 5, "seconds": 0.0, "pruner": "none"}
    text = EXPERIMENT.format(**settings, bug="false", gate_at=0)
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
    """Run `make` with these arguments, and return what it prints."""
    command = ["make", "-f", str(ROOT / "Makefile"), *words, f"VENV={site.folder / 'torch'}"]
    ended = subprocess.run(
        command, cwd=site.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_make_sweep_detects_rangpur(on_rangpur: Site) -> None:
    """No argument is given except the environment."""
    output = make(on_rangpur, "sweep")
    assert len(re.findall(r"job \d+_\d submitted to rangpur", output)) == 4
    sweep = on_rangpur.sweep("hipmri")
    assert sweep.plan.cluster.account == "comp3710"
    assert "conda activate torch" in (on_rangpur.folder / "conda.log").read_text()
    assert "6 of 6 trials" in make(on_rangpur, "status")


def commands_of_the_page() -> list[str]:
    """Return the commands in docs/rangpur.md, in their order, without the comments."""
    blocks = (ROOT / "docs" / "rangpur.md").read_text().split("```")[1::2]
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("sweeps ", "vqvae "))]


def run_line(site: Site, line: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page exactly as it is printed there."""
    command = [str(site.folder / "torch" / "bin" / "python"), "-m", *line.split()]
    return subprocess.run(
        command, cwd=site.folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_the_page_from_the_doctor_to_a_champion(on_rangpur: Site) -> None:
    """Every command of the page in its order.

    `sweeps ui` is left out: it needs a browser. `vqvae` is left out: the tiny model has no tensors.
    """
    outputs = {}
    for line in commands_of_the_page():
        if line == "sweeps ui" or line.startswith("vqvae "):
            continue
        ended = run_line(on_rangpur, line)
        assert ended.returncode == (line == "sweeps doctor"), ended.stdout + ended.stderr
        outputs[line] = ended.stdout
    assert list(outputs) == [
        "sweeps doctor",
        "sweeps plan hipmri",
        "sweeps run hipmri",
        "sweeps status",
        "sweeps sync",
        "sweeps promote hipmri",
    ]
    crosses = [line for line in outputs["sweeps doctor"].splitlines() if line.startswith("✗")]
    assert len(crosses) == 1  # the GPU is simulated, and torch finds none
    assert "no CUDA device" in crosses[0]
    assert "#SBATCH --account=comp3710" in outputs["sweeps plan hipmri"]
    assert "6 of 6 trials" in outputs["sweeps status"]
    promoted = outputs["sweeps promote hipmri"]
    assert "again with 3 new seeds each: 9 trainings of " in promoted
    assert re.search(r"^champion: \S*hipmri version 1$", promoted, re.MULTILINE), promoted
    sweep, confirmed = on_rangpur.sweep("hipmri"), on_rangpur.sweep("hipmri-confirm")
    assert len(confirmed.paths.trials()) == 9
    for each in (sweep, confirmed):
        assert each.plan.cluster.partition == "comp3710"
        assert any(job.started.exists() for job in each.paths.jobs())  # in SLURM, not locally
    wait_for(on_rangpur.is_idle, on_rangpur.log)


def test_on_another_cluster_make_sweep_submits_no_job(
    on_rangpur: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SLURM cluster without the study's folder is not Rangpur: the local quickstart is run."""
    (on_rangpur.folder / "HipMRI_Study_open").rmdir()
    (on_rangpur.folder / "experiments" / "quickstart.toml").write_text("name = 'not complete'")
    command = ["make", "-f", str(ROOT / "Makefile"), "sweep", f"VENV={on_rangpur.folder / 'torch'}"]
    ended = subprocess.run(
        command, cwd=on_rangpur.folder, capture_output=True, text=True, env=os.environ
    )
    assert ended.returncode == 2
    assert "quickstart.toml" in ended.stderr
    assert on_rangpur.testbed.queue() == []
