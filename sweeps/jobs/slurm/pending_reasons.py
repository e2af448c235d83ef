"""Why a job waits: SLURM's word for it, in plain words."""

_STARTS_BY_ITSELF = {
    "None": "SLURM has not looked at it yet",
    "Priority": "others are before it in the queue",
    "Resources": "it is next, and starts when a GPU is free",
    "BeginTime": "it was put back into the queue; SLURM has it wait about two minutes",
    "JobArrayTaskLimit": "another job of this sweep is running; this one starts when that ends",
    "JobArrayTaskLimitReached": "another job of this sweep is running; this one starts after it",
    "QOSMaxJobsPerUserLimit": "your other job is running; this one starts when it ends",
    "AssocMaxJobsLimit": "your other jobs are running; this one starts when one of them ends",
    "MaxJobsPerAccount": "your account's other jobs are running; this one starts when one ends",
    "QOSMaxGRESPerUser": "you have all the GPUs that one user may have; it starts when one is free",
    "QOSMaxCpuPerUserLimit": "your other jobs use all the cores that one user may have",
    "QOSMaxMemoryPerUser": "your other jobs use all the memory that one user may have",
    "QOSMaxNodePerUserLimit": "your other jobs use all the nodes that one user may have",
    "QOSGrpGRES": "your group has all the GPUs it may have; it starts when one is free",
    "QOSGrpCpuLimit": "your group uses all the cores it may have",
    "QOSGrpNodeLimit": "your group uses all the nodes it may have",
    "QOSGrpJobsLimit": "your group runs as many jobs as it may; it starts when one of them ends",
    "AssocGrpJobsLimit": "your account runs as many jobs as it may; it starts when one ends",
    "AssocGrpGRES": "your account has all the GPUs it may have; it starts when one is free",
    "AssocGrpCpuLimit": "your account uses all the cores it may have",
    "AssocGrpCPURunMinutesLimit": "your account's running jobs may take no more time just now",
    "Reservation": "it waits for a reservation to begin",
    "Dependency": "it waits for another job to end",
    "Licenses": "a licence is in use",
    "Prolog": "its node is being prepared",
    "Cleaning": "its last run is being cleared away",
    "NodeDown": "a node that it needs is down; it starts when the site's staff have mended it",
    "ReqNodeNotAvail": "the nodes are down or kept for something else (maintenance, a class)",
    "PartitionDown": "the site has closed the partition for now",
    "PartitionInactive": "the site has closed the partition for now",
    "SchedDefer": "the scheduler is busy; it looks again soon",
    "FrontEndDown": "SLURM's own machine is down",
}

_NEVER_STARTS = {
    "PartitionConfig": "account, time_limit or memory do not fit the partition",
    "PartitionTimeLimit": "time_limit is more than the partition allows",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "AccountNotAllowed": "the account may not use the partition",
    "QOSNotAllowed": "the qos may not be used in the partition",
    "InvalidAccount": "SLURM does not know the account",
    "InvalidQOS": "SLURM does not know the qos",
    "BadConstraints": "no node has what constraint, gres or cpus ask for",
    "QOSMaxWallDurationPerJobLimit": "time_limit is more than the qos allows",
    "QOSMaxGRESPerJob": "it asks for more GPUs than the qos allows",
    "QOSMaxCpuPerJobLimit": "it asks for more cores than the qos allows",
    "QOSMinGRES": "it asks for fewer GPUs than the qos demands",
    "AssocMaxWallDurationPerJobLimit": "time_limit is more than your account allows",
    "AssocGrpCPUMinutesLimit": "your account has used up its share of time",
    "AssocGrpBillingMinutes": "your account has used up its share of time",
    "DependencyNeverSatisfied": "the job that it waits for has failed",
    "JobHeldAdmin": "the site's staff hold it: ask them",
    "JobHoldMaxRequeue": "it was started too often in vain: ask the site's staff",
}
"""Each with what is wrong in the cluster file, or whom to ask."""


def describe_reason(reason: str, number: str = "") -> str:
    """Why a job waits, and what to do if waiting is in vain.

    Args:
        reason: SLURM's word, with whatever else it says behind a comma.
        number: the job's, for the commands that are named.
    """
    word = reason.partition(",")[0].strip("() ")
    if word in _STARTS_BY_ITSELF:
        return _STARTS_BY_ITSELF[word]
    if word in _NEVER_STARTS:
        wrong = _NEVER_STARTS[word]
        return f"it will never start: {wrong}; scancel {number}, mend the file, run it again"
    if "held" in reason.lower():
        return f"it is held; let it go with: scontrol release {number}"
    return f"SLURM says {reason}"
