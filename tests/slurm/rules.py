"""The rules of the sites on which the tests run: what each of them has that others have not.

A site is made unlike another one by a line: `RANGPUR.but(MaxArraySize="3")`, or on the command line
`python -m tests.slurm.testbed bare MaxArraySize=5`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

ACCOUNT = "comp3710"


@dataclass(frozen=True)
class SiteRules:
    """The rules of one site.

    Attributes:
        name: the site's name.
        partitions: the lines of slurm.conf that name the partitions.
        partition: the partition that the tests' cluster file names.
        account: the account that it names; None for none.
        accounting: arguments of sacctmgr, in their order; None for a site without slurmdbd.
        slurm: lines of slurm.conf by their key; None removes a line that other sites have.
        wrappers: scripts that are first on the PATH, by the name of SLURM's command.
        environment: environment variables that the site sets for its users.
    """

    name: str
    partitions: tuple[str, ...]
    partition: str
    account: str | None = None
    accounting: tuple[str, ...] | None = None
    slurm: Mapping[str, str | None] = field(default_factory=dict)
    wrappers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def but(self, **slurm: str | None) -> "SiteRules":
        """Return these rules with other lines of slurm.conf; None removes a line."""
        return replace(self, slurm={**self.slurm, **slurm})


RANGPUR = SiteRules(
    "rangpur",
    partitions=(
        f"PartitionName=comp3710 Nodes=ALL MaxTime=12:00:00 AllowAccounts={ACCOUNT} QOS=one-job",
        f"PartitionName=comp3710-test Nodes=ALL MaxTime=2 AllowAccounts={ACCOUNT} QOS=one-job",
        "PartitionName=slots Nodes=ALL MaxTime=1:00:00 Default=YES",
        "PartitionName=few Nodes=ALL MaxTime=1:00:00 QOS=few",
    ),
    partition="comp3710",
    account=ACCOUNT,
    accounting=(
        "add cluster testbed",
        f"add account {ACCOUNT} description=course organization=uni",
        "add account other description=other organization=uni",
        "add qos one-job set flags=DenyOnLimit maxjobsperuser=1",
        "add qos few set flags=DenyOnLimit maxsubmitjobsperuser=3",
        "add qos urgent set priority=100 preempt=normal",
        f"add user {{user}} account={ACCOUNT} qos=normal,urgent",
        "add user {user} account=other qos=normal,urgent",
        "modify user {user} set defaultaccount=other",
    ),
)
"""Rangpur: nodes that report 1 MB of memory, a required account that is not the user's default one,
one running job for each user, and a partition for two minutes. Two partitions are the tests' own:
`slots` for several jobs at once, and `few`, where a user may have at most three jobs, pending ones
included."""

AS_ORDINARY_USER = """#!/bin/bash
exec setpriv --reuid=nobody --regid=nogroup --clear-groups /usr/bin/scontrol "$@"
"""
"""The tests run as root, from whom SLURM hides nothing."""

BARE = SiteRules(
    "bare",
    partitions=(
        "PartitionName=slots Nodes=ALL MaxTime=1:00:00 PriorityTier=1 GraceTime=30",
        "PartitionName=hidden Nodes=ALL MaxTime=1:00:00 PriorityTier=1 Hidden=YES",
        "PartitionName=urgent Nodes=ALL MaxTime=1:00:00 PriorityTier=10 PreemptMode=OFF",
        "PartitionName=short Nodes=ALL MaxTime=5 Default=YES PreemptMode=OFF",
    ),
    partition="slots",
    slurm={
        "JobRequeue": "0",
        "MaxArraySize": "3",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "CANCEL",
    },
    wrappers={
        "scontrol": AS_ORDINARY_USER.replace(
            "exec", '[[ "$1 $2" = "show partition" ]] || exec /usr/bin/scontrol "$@"\nexec'
        )
    },
)
"""A site without accounting and without requeueing, with arrays of three tasks at most, a hidden
partition, and pre-emption that cancels a job after 30 seconds."""

LOUD = """#!/bin/bash
echo "*** Maintenance on Friday, jobs that would still run then stay pending ***"
echo "*** {name}: this wrapper is provided by the site's staff ***" >&2
{before}exec /usr/bin/{name} "$@"
"""

LIMITED = SiteRules(
    "limited",
    partitions=("PartitionName=slots Nodes=ALL MaxTime=1:00:00 Default=YES QOS=limited",),
    partition="slots",
    account=ACCOUNT,
    accounting=(
        "add cluster testbed",
        f"add account {ACCOUNT} description=course organization=uni",
        "add qos limited set flags=DenyOnLimit maxsubmitjobsperuser=1 maxwall=00:45:00",
        f"add user {{user}} account={ACCOUNT} qos=normal",
    ),
    wrappers={
        "sbatch": LOUD.format(
            name="sbatch", before='echo "Budget after this job 1000 credits; thank you."\n'
        ),
        **{name: LOUD.format(name=name, before="") for name in ("squeue", "scontrol", "sacct")},
    },
    environment={"SBATCH_EXPORT": "NONE"},
)
"""A site that limits everything (one job for each user, pending ones included, and 45 minutes, in a
QOS that refuses what is beyond it). Its commands speak, and no environment reaches a job."""

SITES = {rules.name: rules for rules in (RANGPUR, BARE, LIMITED)}


def rules_of(words: list[str]) -> SiteRules:
    """Return the rules that words of a command line name: a site, then lines of slurm.conf.

    `bare MaxArraySize=5 JobRequeue=` is the site `bare` with another line and without a second one.

    Raises:
        SystemExit: there is no such site, or a word is no line of slurm.conf.
    """
    name, lines = (words[0], words[1:]) if words else ("rangpur", [])
    if name not in SITES or not all("=" in line for line in lines):
        raise SystemExit(f"error: give a site ({', '.join(SITES)}), then lines KEY=VALUE")
    pairs = (line.partition("=")[::2] for line in lines)
    return SITES[name].but(**{key: value or None for key, value in pairs})
