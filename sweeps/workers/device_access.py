"""Whether a worker shares its job's device (a GPU) with other workers of the job."""

from enum import StrEnum


class DeviceAccess(StrEnum):
    """How a worker uses the device."""

    SHARED = "shared"
    """Other workers of the job use it, too."""
    SINGLE = "single"
    """The job has only this worker."""
    EXCLUSIVE = "exclusive"
    """The job's other workers wait; this one runs only trials that need exclusive use."""

    @property
    def has_exclusive_use(self) -> bool:
        """Whether no other worker of the job uses the device."""
        return self is not DeviceAccess.SHARED
