"""A SLURM cluster of two nodes on this machine, for trying srwgan_train.sh on the real thing.

    python3 tests/slurm/cluster.py           # starts it, prints the line that points sbatch to it, waits for Ctrl-C

It needs Debian's packages slurm-wlm and munge (tried with SLURM 22.05), no root and no configuration of the system's:
keys, sockets, state and logs are in a temporary folder, which goes with the cluster. Both nodes are this machine
(`slurmd -N`), at two addresses of its loopback. Each claims 16 cores, 64 GB and two GPUs, which are /dev/null and
/dev/zero, whatever the machine has.

Two tasks are tried on one node. TensorFlow's workers listen at all addresses of a machine, so two nodes that are one
machine cannot each have a worker at the same port.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
NODES = {"127.0.0.1": "one", "127.0.0.2": "two"}  # a node's name is an address: nothing has to resolve it
DAEMON_FOLDERS = ("/usr/sbin", "/usr/local/sbin")  # which are not on everyone's PATH
CONFIGURATION = """\
ClusterName=srwgan
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=2
MpiDefault=none
ReturnToService=2
GresTypes=gpu
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=64000 Gres=gpu:2"
GPUS = "Name=gpu File=/dev/null Flags=no_gpu_env\nName=gpu File=/dev/zero Flags=no_gpu_env\n"


def missing_commands():
    """The commands of `COMMANDS` that this machine lacks."""
    return [name for name in COMMANDS if not find_command(name)]


def find_command(name):
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *DAEMON_FOLDERS]))


class Cluster:
    """A running cluster, as a context manager that stops all of it.

    Attributes:
        folder: Path of its keys, sockets, state and logs.
        environment: dict, the variables with which SLURM's commands find this cluster.
    """

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path has 107 bytes at most
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self.daemons = []

    def __enter__(self):
        try:
            self.configure()
            self.start("munged", "--foreground", "--force", *self.munge_files())
            self.wait_until(lambda: (self.folder / "munge.socket").exists(), "munged")
            self.start("slurmctld", "-D", "-c")
            for name in NODES:
                self.start("slurmd", "-D", "-c", "-N", name)
            self.wait_until(lambda: self.node_states() == ["idle"] * len(NODES), "both nodes")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error):
        self.stop()

    def configure(self):
        ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports[1:], strict=True)]
        values = {"host": host, "controller_port": ports[0], "user": getpass.getuser(), "folder": self.folder}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(nodes="\n".join(nodes), **values))
        (self.folder / "gres.conf").write_text(GPUS)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "state").mkdir()
        self.folder.chmod(0o711)  # munged wants its socket to be reachable

    def munge_files(self):
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        return [f"--{option}={self.folder / 'munge'}.{ending}" for option, ending in names.items()]

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.output", "ab") as output:
            self.daemons.append(
                subprocess.Popen(
                    [find_command(name), *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the one who started the cluster, who then stops it
                )
            )

    def run(self, *command, **options):
        """The standard output of one of SLURM's commands."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, **options)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def node_states(self):
        try:
            return self.run("sinfo", "--noheader", "--Node", "--format=%t").split()
        except RuntimeError:  # the controller does not listen yet
            return []

    def wait_until(self, condition, what):
        while not condition():
            for daemon in self.daemons:
                if daemon.poll() is not None:
                    raise RuntimeError(f"{daemon.args[0]} ended, waiting for {what}:\n{self.logs()}")
            time.sleep(0.2)

    def logs(self):
        """The ends of all daemons' logs."""
        files = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.output")])
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)

    def stop(self):
        """End jobs, steps and daemons, and remove the folder."""
        if len(self.daemons) > 1:
            subprocess.run(["scancel", "--signal=KILL", "--full", "--user", getpass.getuser()], env=self.environment)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait()
        for process in self.processes():  # steps that outlived their node
            os.kill(process, signal.SIGKILL)
        while self.processes():
            time.sleep(0.1)
        shutil.rmtree(self.folder)

    def processes(self):
        """Ids of the processes that belong to the cluster: SLURM hands its variables down to every task."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
            except OSError:  # it ended, or is another user's
                continue
        return found


def free_ports(count):
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main():
    if missing := missing_commands():
        print(f"Received: no {', '.join(missing)}. Expected SLURM: apt-get install slurm-wlm munge", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Cluster() as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
