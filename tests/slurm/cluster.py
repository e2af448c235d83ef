"""The test cluster: a real SLURM on this machine, with a site's rules, in one temporary folder.

`python -m tests.slurm.cluster FOLDER [SITE [KEY=VALUE …]]` starts it, prints `ready`, and keeps it
running until its standard input ends. The site is one of `tests/slurm/rules.py` (Rangpur if none is
named), and each KEY=VALUE replaces a line of its slurm.conf. So it ends with the process that
started it, even if that is killed: the kernel closes the pipe. The daemons run in
the foreground as children of this process and are killed with it (PR_SET_PDEATHSIG). Processes that
jobs left are found by the SLURM_CONF in their environment. No process is ended by its name.
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.slurm.configuration import (
    CGROUP,
    DATABASE,
    GPUS_PER_NODE,
    GRES,
    NODES,
    SLURMDBD,
    slurm_conf,
)
from tests.slurm.rules import RANGPUR, SiteRules, rules_of

PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db")
START_SECONDS = 90.0
ATTEMPTS = 3
PR_SET_PDEATHSIG = 1


def why_not() -> str | None:
    """Return why no cluster can be started on this machine; None if one can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        packages = "apt-get install slurm-wlm slurmdbd munge mariadb-server"
        return f"{', '.join(missing)} not found; on Debian: {packages}"
    return None if os.geteuid() == 0 else "only root can start a SLURM cluster"


class Cluster:
    """The daemons, each a child of this process."""

    def __init__(self, folder: Path, rules: SiteRules = RANGPUR) -> None:
        self.folder = folder
        self.rules = rules
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }
        names = ("mariadb", "slurmdbd", "slurmctld", "slurmd_1", "slurmd_2")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))

    def start(self) -> None:
        """Start all daemons, and wait until the nodes accept jobs."""
        self._write_files()
        self.start_daemon("munged")
        self._wait_for((self.folder / "munge.socket").exists, "munged")
        if self.rules.accounting is not None:
            self._start_accounting(self.rules.accounting)
        for name in ("slurmctld", *(f"slurmd-{node}" for node in NODES)):
            self.start_daemon(name)
        self._wait_for(lambda: self.idle_nodes() == len(NODES), "the nodes")

    def _start_accounting(self, lines: tuple[str, ...]) -> None:
        self._make_database()
        self.start_daemon("slurmdbd")
        self._wait_for(lambda: self._succeeds("sacctmgr", "-n", "show", "cluster"), "slurmdbd")
        for line in lines:
            self.call("sacctmgr", "-i", *line.format(user="root").split())

    def start_daemon(self, name: str) -> None:
        """Start one of the daemons, in the foreground, as a child of this process."""
        user = {"munged": "munge", "mariadbd": "mysql"}.get(name)
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                self._command(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                user=user,
                group=user,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def kill_daemon(self, name: str) -> None:
        """Kill one of the daemons with SIGKILL."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def stop_daemon(self, name: str) -> None:
        """End one of the daemons with SIGTERM, as a reboot does: it saves its state."""
        self.daemons[name].terminate()
        self.daemons[name].wait()

    def wipe(self, name: str) -> None:
        """Stop a daemon and remove what it had saved: the numbers of jobs begin at 1 again."""
        self.stop_daemon(name)
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()

    def lose_node(self, node: str) -> None:
        """Kill all processes of a node at once, as a power failure does."""
        self.kill_daemon(f"slurmd-{node}")
        variable = f"SLURMD_NODENAME={node}"
        for pid in self.processes():
            if variable in environment_of(pid):
                for each in (*step_daemons_above(pid), pid):
                    kill(each)

    def stop(self) -> None:
        """End all processes of the cluster, jobs included, and remove the folder."""
        for name in reversed(self.daemons):
            self.kill_daemon(name)
        for _ in range(100):
            left = self.processes()
            for pid in left:
                kill(pid)
            if not left:
                break
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Return the processes of this cluster except this one: daemons, jobs, their children."""
        variable = f"SLURM_CONF={self.environment['SLURM_CONF']}"
        pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if pid != os.getpid() and variable in environment_of(pid)]

    def logs(self) -> str:
        """Return the last lines of every daemon's log."""
        found = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "\n".join(
            f"== {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-10:])
            for path in found
        )

    def call(self, *command: str) -> str:
        """Run a command on the cluster, and return what it prints."""
        ended = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if ended.returncode:
            raise RuntimeError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if dead:
                raise RuntimeError(f"{dead[0]} ended before {what} was ready")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not ready after {START_SECONDS:.0f} s")
            time.sleep(0.1)

    def idle_nodes(self) -> int:
        """Return how many nodes accept jobs."""
        try:
            answer = self.call("sinfo", "-h", "-N", "-p", "slots", "-o", "%T")
            return answer.split().count("idle")
        except RuntimeError:
            return 0

    def _succeeds(self, *command: str) -> bool:
        try:
            self.call(*command)
        except RuntimeError:
            return False
        return True

    def _command(self, name: str) -> list[str]:
        folder = self.folder
        match name.partition("-")[0]:
            case "munged":
                files = {
                    "socket": "munge.socket",
                    "key-file": "munge/key",
                    "pid-file": "munge/pid",
                    "log-file": "munge/log",
                    "seed-file": "munge/seed",
                }
                options = [f"--{option}={folder / file}" for option, file in files.items()]
                return ["munged", "--foreground", "--force", *options]
            case "mariadbd":
                options = [f"--port={self.ports['mariadb']}", f"--socket={folder}/mariadb/socket"]
                options += [f"--datadir={folder}/mariadb", f"--tmpdir={folder}/mariadb-scratch"]
                return ["mariadbd", "--no-defaults", "--bind-address=127.0.0.1", *options]
            case "slurmd":
                return ["slurmd", "-D", "-N", name.partition("-")[2]]
            case _:
                return [name, "-D"]

    def _write_files(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        texts = {
            "slurm.conf": slurm_conf(self.rules),
            "slurmdbd.conf": SLURMDBD,
            "cgroup.conf": CGROUP,
            "gres.conf": GRES,
        }
        for name, text in texts.items():
            filled = text.format(folder=self.folder, host=socket.gethostname(), **self.ports)
            (self.folder / name).write_text(filled)
        (self.folder / "slurmdbd.conf").chmod(0o600)
        for name in ("state", "cgroup", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        (self.folder / "wrappers").mkdir()
        for name, script in self.rules.wrappers.items():
            (self.folder / "wrappers" / name).write_text(script)
            (self.folder / "wrappers" / name).chmod(0o755)
        for number in range(GPUS_PER_NODE):
            device = self.folder / f"nvidia{number}"
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(195, number))
        munge = self.folder / "munge"
        munge.mkdir(mode=0o700)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        for path in (munge, munge / "key"):
            shutil.chown(path, "munge", "munge")
        shutil.chown(self.folder, "munge", "munge")  # munged creates its socket in it

    def _make_database(self) -> None:
        data, scratch = self.folder / "mariadb", self.folder / "mariadb-scratch"
        data.mkdir()
        scratch.mkdir()  # in /tmp two test clusters would remove each other's tables
        self.call(
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--tmpdir={scratch}",
            "--skip-test-db", "--auth-root-authentication-method=normal",
        )  # fmt: skip
        for path in (scratch, data, *data.rglob("*")):
            shutil.chown(path, "mysql", "mysql")
        self.start_daemon("mariadbd")
        client = ["mariadb", "--no-defaults", f"--socket={self.folder}/mariadb/socket"]
        self._wait_for(lambda: self._succeeds(*client, "-e", "select 1"), "mariadbd")
        self.call(*client, "-e", DATABASE)


def environment_of(pid: int) -> list[str]:
    """Return the environment with which a process was started; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def step_daemons_above(pid: int) -> Iterator[int]:
    """Yield the slurmstepd processes among the ancestors of a process, the nearest first."""
    while True:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pid = int(fields[1])
            name = Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            return
        if name.startswith("slurmstepd"):
            yield pid
        elif pid <= 1:
            return


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_ports(count: int) -> list[int]:
    """Return consecutive ports of the loopback interface that are not in use.

    They are below the range that the kernel uses for outgoing connections: those ports may become
    used while the cluster starts.
    """
    while True:
        first = random.randrange(10_000, 32_000)
        if all(is_free(first + k) for k in range(count)):
            return list(range(first, first + count))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def started(folder: Path, rules: SiteRules) -> Cluster:
    """Return a running cluster; if a port is in use, or so, try again on other ports."""
    for left in reversed(range(ATTEMPTS)):
        cluster = Cluster(folder, rules)
        try:
            cluster.start()
        except (OSError, RuntimeError) as error:
            print(f"{error}\n{cluster.logs()}", file=sys.stderr, flush=True)
            cluster.stop()
            if not left:
                raise
        except BaseException:
            cluster.stop()
            raise
        else:
            return cluster
    raise AssertionError


def keep(cluster: Cluster) -> None:
    """Execute the actions on standard input until it ends: `stop slurmctld`, `lose n1`."""
    actions = {
        "start": cluster.start_daemon,
        "stop": cluster.stop_daemon,
        "kill": cluster.kill_daemon,
        "lose": cluster.lose_node,
        "wipe": cluster.wipe,
    }
    print("ready", flush=True)
    for line in sys.stdin:
        action, name = line.split()
        actions[action](name)
        print("done", flush=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    cluster = started(Path(sys.argv[1]), rules_of(sys.argv[2:]))
    try:
        keep(cluster)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
