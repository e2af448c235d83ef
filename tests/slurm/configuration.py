"""The configuration files of the test cluster, with the rules of Rangpur."""

NODES = ("n1", "n2")
GPUS_PER_NODE = 2
ACCOUNT = "comp3710"

ACCOUNTING = (
    "add cluster testbed",
    f"add account {ACCOUNT} description=course organization=uni",
    "add account other description=other organization=uni",
    "add qos one-job set flags=DenyOnLimit maxjobsperuser=1",
    "add qos few set flags=DenyOnLimit maxsubmitjobsperuser=3",
    "add qos urgent set priority=100 preempt=normal",
    f"add user {{user}} account={ACCOUNT} qos=normal,urgent",
    "add user {user} account=other qos=normal,urgent",
    "modify user {user} set defaultaccount=other",
)
"""Arguments of sacctmgr. The default account is not the one that partition `comp3710` requires."""

SLURM = """
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/qos
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MinJobAge=300
ReturnToService=2
SlurmdTimeout=15
SlurmctldTimeout=30
MessageTimeout=10
InactiveLimit=0
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{slurmd_1}-{slurmd_2}] CPUs=8 \
  RealMemory=1 Gres=gpu:2
PartitionName=comp3710 Nodes=ALL MaxTime=12:00:00 AllowAccounts=comp3710 QOS=one-job
PartitionName=comp3710-test Nodes=ALL MaxTime=2 AllowAccounts=comp3710 QOS=one-job
PartitionName=slots Nodes=ALL MaxTime=1:00:00 Default=YES
PartitionName=few Nodes=ALL MaxTime=1:00:00 QOS=few
"""
"""As on Rangpur: nodes that report 1 MB of memory, a required account, one running job for each
user, and a partition for short tests. In addition `slots`, where one user may use all four GPUs at
once, and `few`, where a user may have at most three jobs, pending ones included."""

GRES = """
NodeName=n[1-2] Name=gpu File={folder}/nvidia[0-1]
"""

SLURMDBD = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={slurmdbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

CGROUP = """
CgroupPlugin=cgroup/v1
CgroupMountpoint={folder}/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
"""
"""SLURM 22.05 has no option to run without control groups; an empty mount point has that effect."""

DATABASE = """
create database slurm_acct_db;
create user 'slurm'@'127.0.0.1' identified by 'slurm';
create user 'slurm'@'localhost' identified by 'slurm';
grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';
grant all on slurm_acct_db.* to 'slurm'@'localhost';
"""
