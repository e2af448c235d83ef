"""What SLURM answers in several versions, each read right: the contract of `answers.py`.

The answers of 22.05 were recorded on the test cluster. Those of the other versions have the form
that SLURM's documentation and source give: what differs is which options and fields there are.
"""

import pytest

from sweeps.jobs.slurm import queries
from sweeps.jobs.slurm.answers import (
    SEPARATOR,
    START,
    read_accounting,
    read_associations,
    read_cluster_name,
    read_ids,
    read_partitions,
    read_queue_answer,
    read_state,
    read_submission,
)
from tests.sweeps.jobs.slurm.answers import COMMENT, account_line, queue_line

BANNER = "\n*** Maintenance on Friday: job 1000 and later will wait. ***\nQuota: 93 % | 1=:=2\n\n"
VERSIONS = ("19.05", "20.11", "21.08", "22.05", "23.11", "24.11", "25.05")
PARTITION_FIELDS = {
    "19.05": "PreemptMode=OFF State=UP TotalCPUs=16 TotalNodes=2",
    "20.11": "PreemptMode=OFF State=UP TotalCPUs=16 TotalNodes=2 JobDefaults=(null)",
    "21.08": "PreemptMode=REQUEUE State=UP JobDefaults=(null) TRES=cpu=16,mem=2M,node=2",
    "22.05": "PreemptMode=REQUEUE State=UP TRES=cpu=16,mem=2M,node=2,billing=16",
    "23.11": "MaxCPUsPerSocket=UNLIMITED State=UP TRES=cpu=16,mem=2M,node=2,billing=16",
    "24.11": "ExclusiveTopo=NO MaxCPUsPerSocket=UNLIMITED State=UP TRES=cpu=16,mem=2M",
    "25.05": "ExclusiveTopo=NO MaxCPUsPerSocket=UNLIMITED State=INACTIVE TRES=(null)",
}
"""Fields in the line of a partition that not every version prints."""


@pytest.mark.parametrize("banner", ["", BANNER])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_queue_is_read_whatever_stands_around_it(version: str, banner: str) -> None:
    """Jobs of the sweep, of other programs, with comments of several lines, in every state."""
    states = {"19.05": "SPECIAL_EXIT", "22.05": "SIGNALING", "25.05": "AN_UNKNOWN_STATE"}
    newest = states.get(version, "CONFIGURING")
    answer = "\n".join(
        [
            queue_line("7_0", submitted="2026-12-01T05:31:14", left="1-02:03:04"),
            queue_line("7_[1-2%1]", "PENDING", node="", reason="JobArrayTaskLimit", left="INVALID"),
            queue_line(
                "8", newest, left="UNLIMITED", submitted="N/A", reason="A new one, of words"
            ),
            queue_line("9+1", "PENDING", name="a | b", comment="(null)", left="NOT_SET"),
            queue_line("10", "COMPLETING", comment=f"first\n{SEPARATOR}second\n\n7_0{SEPARATOR}x"),
            queue_line("11", "RUNNING", name="two\nlines", comment="never seen"),
            queue_line("12", "CANCELLED", comment=f"mine{SEPARATOR}and{SEPARATOR}more"),
            queue_line("no number"),
        ]
    )
    found = {entry.id: entry for entry in read_queue_answer(f"{banner}{answer}\n{banner}")}
    assert list(found) == ["7_0", "7_1", "7_2", "8", "9+1", "10", "12"]
    assert found["7_0"].seconds_left == 93784.0
    assert found["7_0"].submitted_at == 1796103074.0
    assert (found["7_0"].node, found["7_0"].name, found["7_0"].comment) == (
        "n1", "sweep-tiny", COMMENT,
    )  # fmt: skip
    assert found["7_2"].is_pending
    assert (found["8"].state, found["8"].seconds_left, found["8"].submitted_at) == (
        newest, None, None,
    )  # fmt: skip
    assert found["8"].reason == "A new one, of words"
    assert (found["9+1"].name, found["9+1"].comment) == ("a | b", "")
    assert found["10"].comment == "first"
    assert [entry.id for entry in found.values() if entry.has_ended] == ["12"]
    assert found["12"].comment == f"mine{SEPARATOR}and{SEPARATOR}more"


def test_an_answer_about_several_clusters_says_which_job_is_where() -> None:
    answer = f"CLUSTER: alpha\n{queue_line('7')}\n\nCLUSTER: beta\n{queue_line('8')}\n"
    assert [(e.id, e.cluster) for e in read_queue_answer(answer)] == [("7", "alpha"), ("8", "beta")]


@pytest.mark.parametrize("banner", ["", BANNER])
@pytest.mark.parametrize("version", VERSIONS)
def test_how_jobs_ended_is_read_from_accounting(version: str, banner: str) -> None:
    keeps_comments = version >= "21.08"  # from then on a site can choose so
    comment = COMMENT if keeps_comments else ""
    answer = "\n".join(
        [
            account_line("7_0", "CANCELLED by 1000", comment=comment),
            account_line("7_[1-3%1]", "CANCELLED by 0", comment=comment),
            account_line("8", "OUT_OF_MEMORY", name="na me|x", comment="two\nlines"),
            account_line("9", "TIMEOUT+", submitted="Unknown"),
            account_line("10", ""),
        ]
    )
    found = {entry.id: entry for entry in read_accounting(f"{banner}{answer}\n{banner}")}
    assert {number: entry.state for number, entry in found.items()} == {
        **dict.fromkeys(("7_0", "7_1", "7_2", "7_3"), "CANCELLED"),
        "8": "OUT_OF_MEMORY",
        "9": "TIMEOUT",
    }
    assert found["7_0"].comment == comment
    assert found["7_0"].submitted_at == 1796103074.0


@pytest.mark.parametrize("banner", ["", BANNER])
@pytest.mark.parametrize("version", VERSIONS)
def test_partitions_are_read(version: str, banner: str) -> None:
    fields = PARTITION_FIELDS[version]
    answer = (
        f"PartitionName=comp3710 AllowGroups=ALL AllowAccounts=a,b MaxTime=12:00:00 {fields}\n"
        f"PartitionName=night AllowGroups=ALL AllowAccounts=ALL Hidden=YES Default=NO {fields}\n"
    )
    found = read_partitions(f"{banner}{answer}{banner}")
    assert list(found) == ["comp3710", "night"]
    assert (found["comp3710"]["AllowAccounts"], found["comp3710"]["MaxTime"]) == ("a,b", "12:00:00")
    assert found["night"]["Hidden"] == "YES"


def test_rows_of_one_account_are_taken_together_and_other_clusters_are_left_out() -> None:
    answer = (
        f"{BANNER}"
        "alpha|Main|Main|normal,urgent\n"
        "alpha|Main|main|long\n"  # limited to a partition
        "beta|Main|main|other\n"
        "alpha|Main|course|\n"
    )
    user = read_associations(answer, "alpha")
    assert user is not None
    assert user.default == "main"
    assert user.qos == {"main": {"normal", "urgent", "long"}, "course": set()}
    everywhere = read_associations(answer, "")
    assert everywhere is not None
    assert everywhere.qos["main"] == {"normal", "urgent", "long", "other"}
    assert read_associations("", "alpha") is None
    assert read_associations(answer, "gamma") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Submitted batch job 123\n", ("123", "")),
        ("Submitted batch job 123 on cluster alpha\n", ("123", "alpha")),
        ("123\n", ("123", "")),
        ("123;alpha\n", ("123", "alpha")),
        ("This job 1000 credits will cost you\nSubmitted batch job 7\nbye\n", ("7", "")),
        ("\n7\n\n", ("7", "")),
        ("Submitted batch job 7 on cluster Alpha\n", ("7", "alpha")),
        ("This job 1000 credits will cost you\n7\n\n", None),
        ("Your balance\n1000\n", None),
        ("You have 12 jobs\n", None),
        ("17\n18\n", None),
        ("", None),
    ],
)
def test_the_number_of_a_submission_comes_from_slurms_own_sentence(
    answer: str, expected: tuple[str, str] | None
) -> None:
    assert read_submission(answer) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[3-5%2]", ["12_3", "12_4", "12_5"]),
        ("12_[0,4-5,8-16:4]", ["12_0", "12_4", "12_5", "12_8", "12_12", "12_16"]),
        ("12_[1,3,...%2]", ["12_1", "12_3"]),  # SLURM cuts a long text
        ("12+1", ["12+1"]),
        ("12.batch", []),
        ("JOBID", []),
        ("", []),
    ],
)
def test_an_id_stands_for_one_job_or_several(text: str, expected: list[str]) -> None:
    assert read_ids(text) == expected


def test_a_very_large_array_of_another_program_is_read_in_part() -> None:
    assert len(read_ids("12_[0-4000000%1,5000000-9000000]")) < 5
    assert len(read_ids("12_[0-4000000,5000000-9000000%1]")) == 100_000


def test_states_and_the_name_of_a_cluster_are_read_from_texts_with_more_in_them() -> None:
    assert read_state("CANCELLED by 1000") == "CANCELLED"
    assert read_state("CANCELLED+") == "CANCELLED"
    assert read_state("") == "UNKNOWN"
    shown = f"{BANNER}Configuration data as of now\nClusterName             = testbed\nX = y\n"
    assert read_cluster_name(shown) == "testbed"
    assert read_cluster_name("ClusterName=Rangpur\n") == "rangpur"
    assert read_cluster_name("# a file\nclustername=alpha # comment\n") == "alpha"
    assert read_cluster_name("#ClusterName=old\n") == ""


def test_what_is_asked_has_the_form_that_is_read() -> None:
    """squeue is asked for as many fields as are read, the free text last, and by user number."""
    command = queries.queue()
    asked = command[-1].removeprefix(f"-o{START}").split(SEPARATOR)
    assert asked == ["%i", "%T", "%V", "%L", "%N", "%r", "%j", "%k"]
    assert "--me" not in command  # unknown before 20.02
    assert command[1].removeprefix("--user=").isdigit()
    assert queries.accounting(["7_0", "8"])[2] == "--jobs=7_0,8"


def test_a_persons_own_settings_of_slurms_commands_do_not_hide_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "debug")
    monkeypatch.setenv("SACCT_FORMAT", "jobid")
    monkeypatch.setenv("SLURM_CONF", "/a/slurm.conf")
    monkeypatch.setenv("TZ", "Australia/Brisbane")
    variables = queries.query_environment()
    assert "SQUEUE_PARTITION" not in variables
    assert "SACCT_FORMAT" not in variables
    assert variables["SLURM_CONF"] == "/a/slurm.conf"
    assert variables["TZ"] == "UTC"
