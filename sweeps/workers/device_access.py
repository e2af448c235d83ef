"""How a worker shares its job's device (a GPU) with the other workers of the job."""

from enum import StrEnum


class DeviceAccess(StrEnum):
    """With whom a worker shares the device."""

    SHARED = "shared"
    """Other workers of the job use it, too."""
    SINGLE = "single"
    """The job has no other worker."""
    EXCLUSIVE = "exclusive"
    """The others wait; only trials that need the whole device are run."""

    @property
    def is_alone(self) -> bool:
        """Whether no other worker of the job uses the device."""
        return self is not DeviceAccess.SHARED
