"""Which of SLURM's errors are final: texts of `slurm_errno.c`, and of networks and sites."""

import pytest

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.slurm.commands import (
    PERSON,
    SlurmUnavailableError,
    UnclearSlurmError,
    error_of,
)
from sweeps.jobs.slurm.error_messages import named_limit

FAILED = "sbatch: error: Batch job submission failed: "
FINAL = [
    "sbatch: error: invalid partition specified: comp371",
    f"{FAILED}Invalid partition name specified",
    f"{FAILED}Invalid account or account/partition combination specified",
    f"{FAILED}Invalid qos specification",
    f"{FAILED}Invalid feature specification",
    f"{FAILED}Invalid generic resource (gres) specification",
    f"{FAILED}Invalid job array specification",
    f"{FAILED}Invalid wckey specification",
    f"{FAILED}Invalid Trackable RESource (TRES) specification",
    f"{FAILED}Node count specification invalid",
    f"{FAILED}CPU count specification invalid",
    f"{FAILED}Job size specification needs to be provided",
    f"{FAILED}More processors requested than permitted",
    f"{FAILED}User's group not permitted to use this partition",
    f"{FAILED}Requested node configuration is not available",
    f"{FAILED}Requested partition configuration not available now",
    f"{FAILED}Memory required by task is not available",
    f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
    f"{FAILED}Time limit specification required, but not provided",
    f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size …)",
    f"{FAILED}No partition specified or system default partition",
    f"{FAILED}Access/permission denied",
    f"{FAILED}Access denied to requested reservation",
    f"sbatch: error: please name a project {FAILED}Unspecified error",
    "sbatch: unrecognized option '--gpus-per-nod=1'",
    "scontrol: Requested operation is presently disabled for job 12",
    "slurm_requeue error: Job/step already completing or completed",
    "slurm_load_jobs error: Invalid job id specified",
    "squeue: unrecognized option '--me'",
    "Slurm accounting storage is disabled",
]
UNAVAILABLE = [
    f"{FAILED}Unable to contact slurm controller (connect failure)",
    "slurm_load_jobs error: Socket timed out on send/recv operation",
    "Zero Bytes were transmitted or received",
    f"{FAILED}Protocol authentication error",
    'Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory',
    'Munge encode failed: Failed to connect to "/run/munge/munge.socket.2": Permission denied',
    "slurm_load_jobs error: Transport endpoint is not connected",
    "sbatch: error: connect to 10.0.0.1 port 6817: No route to host",
    "getaddrinfo() failed: Temporary failure in name resolution",
    "slurm_receive_msg: Connection reset by peer",
    "Slurm backup controller in standby mode",
    f"{FAILED}Unable to create job record, try again",
    f"{FAILED}Job can not be altered now, try again later",
]
UNCLEAR = [
    "Incompatible versions of client and server code",
    f"{FAILED}Invalid authentication credential",
    f"{FAILED}Invalid user id",
    "wrapper: the budget server had a problem",
    "",
]


@pytest.mark.parametrize("message", FINAL)
def test_a_refusal_is_final(message: str) -> None:
    error = error_of(message)
    assert isinstance(error, EnvironmentFailure)
    assert not isinstance(error, SlurmUnavailableError)


@pytest.mark.parametrize("message", UNAVAILABLE)
def test_a_silent_slurm_is_waited_for(message: str) -> None:
    error = error_of(message)
    assert type(error) is SlurmUnavailableError
    assert PERSON.seconds(error) == 600


@pytest.mark.parametrize("message", UNCLEAR)
def test_an_unknown_error_is_waited_for_a_minute_by_a_person(message: str) -> None:
    error = error_of(message)
    assert isinstance(error, UnclearSlurmError)
    assert PERSON.seconds(error) == 60


def test_the_limit_that_slurm_names_is_read() -> None:
    message = f"sbatch: error: QOSMaxWallDurationPerJobLimit {FAILED}Job violates accounting/QOS …"
    assert named_limit(message) == "QOSMaxWallDurationPerJobLimit"
    assert named_limit(FAILED + "Job violates accounting/QOS policy (job submit limit)") is None
