"""Explanations of SLURM's reasons why a job is pending."""

_STARTS_BY_ITSELF = {
    "None": "SLURM has not examined the job yet",
    "Priority": "other jobs are before it in the queue",
    "Resources": "it is the next to start, as soon as a GPU or a node is free",
    "BeginTime": "the job was requeued; SLURM delays it for about two minutes",
    "JobArrayTaskLimit": "another job of this sweep is running; this one starts when it ends",
    "JobArrayTaskLimitReached": "another job of this sweep is running; this one starts after it",
    "QOSMaxJobsPerUserLimit": "your other job is running; this one starts when it ends",
    "AssocMaxJobsLimit": "your other jobs are running; this one starts when one of them ends",
    "MaxJobsPerAccount": "your account's other jobs are running; this one starts when one ends",
    "QOSMaxGRESPerUser": "your jobs use all GPUs one user may have; it starts when one ends",
    "QOSMaxCpuPerUserLimit": "your jobs use all cores one user may have; it starts when one ends",
    "QOSMaxMemoryPerUser": "your jobs use all memory one user may have; it starts when one ends",
    "QOSMaxNodePerUserLimit": "your jobs use all nodes one user may have; it starts when one ends",
    "QOSGrpGRES": "your group uses all GPUs that it may have; it starts when one is free",
    "QOSGrpCpuLimit": "your group uses all cores that it may have; it starts when some are free",
    "QOSGrpNodeLimit": "your group uses all nodes that it may have; it starts when one is free",
    "QOSGrpJobsLimit": "your group runs as many jobs as it may; it starts when one of them ends",
    "AssocGrpJobsLimit": "your account runs as many jobs as it may; it starts when one ends",
    "AssocGrpGRES": "your account uses all GPUs that it may have; it starts when one is free",
    "AssocGrpCpuLimit": "your account uses all cores it may have; it starts when some are free",
    "AssocGrpCPURunMinutesLimit": "your account's jobs use all its CPU time; it starts later",
    "Reservation": "its reservation has not begun yet",
    "Dependency": "it starts when another job has ended",
    "Licenses": "a licence that it needs is in use; it starts when one is free",
    "Prolog": "SLURM is preparing its node",
    "Cleaning": "SLURM is cleaning up after its last run",
    "NodeDown": "a node that it needs is down; it starts when the site's staff have repaired it",
    "ReqNodeNotAvail": "the nodes are down or reserved (maintenance, a class); it starts later",
    "PartitionDown": "the site has closed the partition; it starts when that is open again",
    "PartitionInactive": "the site has closed the partition; it starts when that is open again",
    "SchedDefer": "the scheduler is busy and will examine the job later",
    "FrontEndDown": "SLURM's front-end node is down; the job starts when it is up again",
}

_CORRECT_FILE = "correct that in the cluster file"
_SHORTEN = "set a shorter time_limit in the cluster file"
_OTHER_ACCOUNT = "set another account in the cluster file, or ask the site's staff for more time"

_NEVER_STARTS = {
    "PartitionConfig": ("account, time_limit or memory do not fit the partition", _CORRECT_FILE),
    "PartitionTimeLimit": ("time_limit is longer than the partition allows", _SHORTEN),
    "PartitionNodeLimit": ("it requests more nodes than the partition allows", _CORRECT_FILE),
    "AccountNotAllowed": ("the account may not use the partition", _CORRECT_FILE),
    "QOSNotAllowed": ("the qos may not be used in the partition", _CORRECT_FILE),
    "InvalidAccount": ("SLURM does not know the account", _CORRECT_FILE),
    "InvalidQOS": ("SLURM does not know the qos", _CORRECT_FILE),
    "BadConstraints": ("no node has what constraint, gres or cpus request", _CORRECT_FILE),
    "QOSMaxWallDurationPerJobLimit": ("time_limit is longer than the qos allows", _SHORTEN),
    "QOSMaxGRESPerJob": ("gres requests more GPUs than the qos allows", _CORRECT_FILE),
    "QOSMaxCpuPerJobLimit": ("cpus requests more cores than the qos allows", _CORRECT_FILE),
    "QOSMinGRES": ("gres requests fewer GPUs than the qos requires", _CORRECT_FILE),
    "AssocMaxWallDurationPerJobLimit": (
        "time_limit is longer than your account allows",
        _SHORTEN,
    ),
    "AssocGrpCPUMinutesLimit": ("your account has used up its time", _OTHER_ACCOUNT),
    "AssocGrpBillingMinutes": ("your account has used up its time", _OTHER_ACCOUNT),
    "DependencyNeverSatisfied": ("the job that it depends on has failed", "find out why"),
}
"""For each reason: why the job never starts, and what to do before the sweep is run again."""

_HELD_BY_SITE = {
    "JobHeldAdmin": "the site's staff hold it; ask them to release it",
    "JobHoldMaxRequeue": "SLURM holds it, since its start failed too often; ask the site's staff",
}


def describe_limit(name: str) -> str:
    """Explain a limit for which sbatch refused a job, and what to do.

    Args:
        name: SLURM's name of the limit, such as `QOSMaxWallDurationPerJobLimit`.
    """
    if name in _NEVER_STARTS:
        cause, fix = _NEVER_STARTS[name]
        return f"{cause}; {fix}"
    owner = "qos" if name.startswith("QOS") else "account or partition"
    return f"it exceeds the limit {name} of your {owner}; {_CORRECT_FILE}"


def is_failed_launch(reason: str) -> bool:
    """Return whether SLURM holds a job because a node failed to start it."""
    return "launch failed" in reason.replace("_", " ").lower()


def describe_reason(reason: str, number: str = "") -> str:
    """Explain why a job is pending, and what to do if it never starts.

    Args:
        reason: SLURM's reason, possibly with details after a comma.
        number: the job's id, for the commands in the explanation.
    """
    name = reason.partition(",")[0].strip("() ")
    if name in _STARTS_BY_ITSELF:
        return _STARTS_BY_ITSELF[name]
    if name in _NEVER_STARTS:
        cause, fix = _NEVER_STARTS[name]
        return f"it will never start: {cause}; scancel {number}, {fix}, then run the sweep again"
    if name in _HELD_BY_SITE:
        return _HELD_BY_SITE[name]
    if is_failed_launch(reason):
        return "its start failed on a node, so SLURM holds it; run the sweep again to release it"
    if "held" in reason.lower():
        return f"it is held; release it with: scontrol release {number}"
    return f"SLURM's reason is {reason}"
