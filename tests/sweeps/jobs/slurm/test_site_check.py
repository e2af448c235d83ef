"""A cluster file against what SLURM says of the site: refused only if no job could ever start."""

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import InputError
from sweeps.jobs.slurm.site_check import check_site, explain_refusal
from sweeps.storage.paths import SlurmPaths
from tests.sweeps.conftest import MakeSweep
from tests.sweeps.jobs.slurm.conftest import WriteCommand

PARTITIONS = """cat <<'END'
Welcome to the cluster!
PartitionName=night AllowAccounts=ALL Default={default} MaxTime=12:00:00 State=UP
PartitionName=one AllowAccounts=COURSE Default=NO MaxTime=1:00:00 State=UP
END"""
USER = """cat <<'END'
testbed|main|main|normal
testbed|main|course|normal
testbed|main|main|long
elsewhere|main|third|normal
END"""


@pytest.fixture
def slurm(make_sweep: MakeSweep, command: WriteCommand) -> SlurmPaths:
    """A site with two partitions, the first one the default."""
    command("sbatch", "")
    command("scontrol", PARTITIONS.format(default="YES"))
    command("sacctmgr", USER)
    return make_sweep().paths.slurm


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the checks ask as often as they need."""
    monkeypatch.setattr("sweeps.jobs.slurm.rate_limit.MAX_QUERIES", 100)


def check(slurm: SlurmPaths, **fields: str) -> None:
    cluster = Cluster.model_validate({"scheduler": "slurm", "time_limit": "30", **fields})
    check_site("testbed", cluster, slurm, all_checks=True)


def test_several_partitions_are_checked_one_by_one_and_one_that_fits_is_enough(
    slurm: SlurmPaths,
) -> None:
    check(slurm, partition="night,one", account="main")
    check(slurm, partition="one,night", time_limit="6:00:00", account="course")
    with pytest.raises(InputError, match="partition one allows 1:00:00"):
        check(slurm, partition="one,night", time_limit="13:00:00")
    with pytest.raises(InputError, match="account = 'main' is not allowed in partition one"):
        check(slurm, partition="one", account="main")
    with pytest.raises(InputError, match="account = 'main' is not allowed in partition one"):
        check(slurm, partition="one,one", account="main")


def test_accounts_are_the_same_in_capital_letters(slurm: SlurmPaths) -> None:
    check(slurm, partition="one", account="Course")
    with pytest.raises(InputError, match="'third' is not one of your accounts"):
        check(slurm, partition="night", account="third")  # on another cluster it is


def test_the_qos_of_all_rows_of_an_account_may_be_used(slurm: SlurmPaths) -> None:
    check(slurm, partition="night", account="main", qos="normal")
    check(slurm, partition="night", account="main", qos="long")
    with pytest.raises(InputError, match=r"qos = 'lang' is not allowed .* did you mean 'long'"):
        check(slurm, partition="night", account="main", qos="lang")


def test_a_partition_that_slurm_does_not_list_is_left_to_sbatch(slurm: SlurmPaths) -> None:
    """It may be hidden from this user; if sbatch refuses it, the message has advice."""
    check(slurm, partition="hidden", account="main", time_limit="20:00:00")
    check(slurm, partition="night,hidden", account="main", time_limit="20:00:00")
    with pytest.raises(InputError, match=r"'nigth' is not known to SLURM; did you mean 'night'\?"):
        explain_refusal(Cluster(scheduler="slurm", partition="one,nigth"), slurm)


def test_a_site_without_a_default_partition_is_left_to_sbatch(
    slurm: SlurmPaths, command: WriteCommand
) -> None:
    """A plugin of the site may choose the partition."""
    command("scontrol", PARTITIONS.format(default="NO"))
    check(slurm, time_limit="20:00:00")
    with pytest.raises(InputError, match="SLURM has no default partition; set one"):
        explain_refusal(Cluster(scheduler="slurm"), slurm, "no partition specified")


def test_hidden_partitions_are_asked_for(slurm: SlurmPaths, command: WriteCommand) -> None:
    listed = PARTITIONS.format(default="YES")
    command("scontrol", f'[[ " $* " == *" --all "* ]] || exit 1\n{listed}')
    check(slurm)
