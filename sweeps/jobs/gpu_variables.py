"""The environment variables that say which GPUs a process may use, of NVIDIA's and AMD's."""

import os
from collections.abc import Mapping

VISIBLE = (
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
)
"""SLURM sets the first, the second and the last one, those that `Flags` in gres.conf names
(gres.conf(5)); AMD's libraries read the third one, too."""
_GRANTED = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
"""What SLURM sets beside them, also where `no_gpu_env` in gres.conf turns those off."""
_NONE = {"", "-1", "NoDevFiles"}
"""Values that mean no GPU; SLURM before 21.08 wrote the last one."""


def visible_devices() -> dict[str, str]:
    """Return those of the variables that are set, by name."""
    return {name: os.environ[name] for name in VISIBLE if name in os.environ}


def has_gpu_of_slurm() -> bool:
    """Return whether SLURM gave a GPU to this job."""
    return any(os.environ.get(name, "") not in _NONE for name in (*VISIBLE, *_GRANTED))


def restore_visible_devices(devices: Mapping[str, str]) -> None:
    """Set the variables in this process to what `visible_devices` returned in another one."""
    for name in VISIBLE:
        os.environ.pop(name, None)
    os.environ.update(devices)
