"""The configuration files of the test cluster; a site's own lines are in `tests/slurm/rules.py`."""

from collections.abc import Iterator

from tests.slurm.rules import SiteRules

NODES = ("n1", "n2")
GPUS_PER_NODE = 2

COMMON = {
    "ClusterName": "testbed",
    "SlurmctldHost": "{host}(127.0.0.1)",
    "SlurmctldPort": "{slurmctld}",
    "SlurmUser": "root",
    "AuthType": "auth/munge",
    "AuthInfo": "socket={folder}/munge.socket",
    "StateSaveLocation": "{folder}/state",
    "SlurmctldPidFile": "{folder}/slurmctld.pid",
    "SlurmctldLogFile": "{folder}/slurmctld.log",
    "SlurmdSpoolDir": "{folder}/spool-%n",
    "SlurmdPidFile": "{folder}/slurmd-%n.pid",
    "SlurmdLogFile": "{folder}/slurmd-%n.log",
    "SlurmdParameters": "config_overrides",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "MpiDefault": "none",
    "SwitchType": "switch/none",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core",
    "SchedulerType": "sched/backfill",
    "SchedulerParameters": "sched_interval=2,bf_interval=2,batch_sched_delay=0",
    "PreemptType": "preempt/qos",
    "PreemptMode": "REQUEUE",
    "JobRequeue": "1",
    "KillWait": "10",
    "MinJobAge": "300",
    "ReturnToService": "2",
    "SlurmdTimeout": "15",
    "SlurmctldTimeout": "30",
    "MessageTimeout": "10",
    "InactiveLimit": "0",
    "GresTypes": "gpu",
    "JobAcctGatherType": "jobacct_gather/none",
}
"""The lines of slurm.conf that each site has unless its rules replace them. `{folder}`, `{host}`
and the ports are filled in when the cluster starts."""

WITH_ACCOUNTING = {
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageHost": "127.0.0.1",
    "AccountingStoragePort": "{slurmdbd}",
    "AccountingStoragePass": "{folder}/munge.socket",
    "AccountingStorageEnforce": "associations,limits,qos",
}

NODE_LINE = """
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{slurmd_1}-{slurmd_2}] CPUs=8 \
  RealMemory=1 Gres=gpu:2
"""
"""As on Rangpur, the nodes report 1 MB of memory."""

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


def slurm_conf(rules: SiteRules) -> str:
    """Return slurm.conf for a site, with the places and ports still to fill in."""
    return "\n".join(_lines(rules)) + NODE_LINE + "\n".join(rules.partitions) + "\n"


def _lines(rules: SiteRules) -> Iterator[str]:
    settings: dict[str, str | None] = {**COMMON}
    if rules.accounting is not None:
        settings.update(WITH_ACCOUNTING)
    settings.update(rules.slurm)
    return (f"{key}={value}" for key, value in settings.items() if value is not None)
