"""A job without the GPU that its cluster file requests, on nodes of NVIDIA's and of AMD's GPUs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.jobs.gpu_variables import restore_visible_devices, visible_devices
from sweeps.jobs.slurm.bad_nodes import check_gpu
from tests.sweeps.conftest import MakeSweep

Command = Callable[[str, str], Path]
NVIDIA = "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'"
NO_NVIDIA = "echo 'No devices were found' >&2; exit 6"
AMD = "printf 'GPU[0]\\t\\t: GPU ID: 0x740f\\n'"
NO_AMD = "echo 'WARNING: No AMD GPUs specified'"
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    *("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"),
)


@pytest.fixture
def reason(
    make_sweep: MakeSweep, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str | None]:
    """Why a job has no GPU, in a job with these variables on a node with these commands."""
    command("squeue", "exit 0")
    cluster = Cluster(scheduler="slurm", gpus=1, gres="gpu:1")
    sweep = make_sweep(cluster=cluster)
    job = sweep.paths.job("a-0")
    job.folder.mkdir(parents=True)

    def check(environment: dict[str, str], commands: dict[str, str]) -> str | None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name, script in commands.items():
            command(name, script)
        try:
            check_gpu(sweep, job)
        except EnvironmentFailure:
            return str(atomic.read_json(job.bad_node)["reason"])
        return None

    return check


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_of_slurm_says_that_a_job_has_a_gpu(
    name: str, reason: Callable[..., str | None]
) -> None:
    commands = {"nvidia-smi": NO_NVIDIA, "rocm-smi": AMD}
    assert reason({name: "0"}, commands) is None


@pytest.mark.parametrize("value", [None, "", "-1", "NoDevFiles"])
def test_a_job_to_which_slurm_gave_no_gpu_fails(
    value: str | None, reason: Callable[..., str | None]
) -> None:
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert "SLURM gave the job no GPU" in str(reason(environment, {"nvidia-smi": NVIDIA}))


@pytest.mark.parametrize(
    ("commands", "named"),
    [
        ({"nvidia-smi": NVIDIA, "rocm-smi": NO_AMD}, None),
        ({"nvidia-smi": NO_NVIDIA, "rocm-smi": AMD}, None),
        ({"nvidia-smi": NO_NVIDIA, "rocm-smi": NO_AMD}, "No devices were found; rocm-smi lists no"),
    ],
)
def test_a_node_needs_a_gpu_of_one_maker(
    commands: dict[str, str], named: str | None, reason: Callable[..., str | None]
) -> None:
    found = reason({"ROCR_VISIBLE_DEVICES": "0"}, commands)
    assert found is None if named is None else named in str(found)


def test_a_local_job_gets_the_gpus_that_were_visible_at_submission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    at_submission = visible_devices()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # submitit hides every GPU this way
    restore_visible_devices(at_submission)
    assert visible_devices() == {"ROCR_VISIBLE_DEVICES": "1"}
