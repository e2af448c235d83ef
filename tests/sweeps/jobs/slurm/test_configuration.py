"""What SLURM's configuration and limits say of a site, in the forms of several versions."""

import pytest

from sweeps.jobs.slurm.answers import read_configuration, read_limits
from sweeps.jobs.slurm.configuration import describe_configuration, unexpected_lines
from sweeps.jobs.slurm.limits import describe_limits

BANNER = "=== Welcome to the cluster: quota = 12 ===\n\n"
CONFIGURATION = """Configuration data as of 2026-12-01T06:00:00
AccountingStorageType   = {storage}
{comments}
ClusterName             = here
JobRequeue              = {requeue}
MailDomain              =
MaxArraySize            = {size}

Slurmctld(primary) at head is UP
"""


def described(
    storage: str = "accounting_storage/slurmdbd", comments: str = "", requeue: int = 1
) -> dict[str, str]:
    text = CONFIGURATION.format(storage=storage, comments=comments, requeue=requeue, size=1001)
    return dict(describe_configuration(read_configuration(BANNER + text)))


def test_the_size_of_arrays_and_requeueing_are_named() -> None:
    assert described()["array size"].startswith("at most 1001 jobs in one array;")
    assert described()["requeue"].startswith("jobs may be requeued by default")
    assert described(requeue=0)["requeue"].startswith("jobs may not be requeued by default")


@pytest.mark.parametrize("storage", ["accounting_storage/none", "(null)", ""])
def test_a_site_without_accounting_is_told_as_one(storage: str) -> None:
    found = described(storage)
    assert found["accounting"].startswith("none: SLURM forgets")
    assert "comments" not in found


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("AccountingStoreFlags    = job_comment,job_env", True),
        ("AccountingStoreFlags    = (null)", False),
        ("AccountingStoreJobComment = Yes", True),
        ("AccountingStoreJobComment = No", False),
        ("", False),
    ],
)
def test_whether_accounting_keeps_comments_is_read_in_each_version(line: str, kept: bool) -> None:
    expected = "accounting keeps" if kept else "accounting does not keep"
    assert described(comments=line)["comments"].startswith(expected)


def test_an_answer_without_any_known_value_says_nothing() -> None:
    assert dict(describe_configuration(read_configuration(BANNER))) == {}
    assert read_configuration("MailDomain =\nMaxArraySize = 3") == {
        "MailDomain": "",
        "MaxArraySize": "3",
    }


@pytest.mark.parametrize("version", ["slurm 19.05.5", "slurm-wlm 22.05.8", "slurm 25.05.0-0rc1"])
def test_only_a_wrapper_prints_more_than_the_version(version: str) -> None:
    assert unexpected_lines(f"\n{version}\n") == []
    assert unexpected_lines(f"Welcome!\n{version}\n") == ["Welcome!"]


def test_limits_are_named_as_slurm_names_them_for_each_account() -> None:
    answer = f"{BANNER}physics|||5|12|1-00:00:00||\nmaths|gpu|normal,long|||||\n"
    assert list(describe_limits(read_limits(answer))) == [
        "account physics: MaxJobs=5, MaxSubmit=12, MaxWall=1-00:00:00; a QOS may have further ones"
    ]
    assert list(describe_limits(read_limits("physics|gpu|normal|2||||\n"))) == [
        "account physics in partition gpu: MaxJobs=2; a QOS may have further ones"
    ]
