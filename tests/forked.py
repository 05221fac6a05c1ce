"""Python processes for tests that start within milliseconds, since TensorFlow is imported already.

They are forked from a process that has imported it and done nothing else, so that each goes on as a new one would:
devices, threads and environment variables are looked at when TensorFlow is first used.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Forked:
    """A process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, command, *, log, cwd=ROOT, environment=None):
        """Start `python *command`, the command being a script or -c and code, each with its arguments.

        Args:
            log: path of the file that stdout and stderr are written to.
            cwd: the folder it runs in.
            environment: all of its variables (default: those of this process).
        """
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["tensorflow", "keras"])
        arguments = [str(part) for part in command], str(log), str(cwd), dict(environment or os.environ)
        self.process = server.Process(target=run, args=arguments, daemon=True)
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        """Its exit status; a TimeoutError where it takes longer than `timeout` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutError(f"Process {self.pid} runs for longer than {timeout} s.")
        return self.poll()

    def send_signal(self, number):
        if self.process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(command, log, cwd, environment):
    """What the forked process does."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # to be looked up in the new environment
    sys.path.insert(0, str(ROOT))
    sys.argv = ["-c", *command[2:]] if command[0] == "-c" else command
    try:
        if command[0] == "-c":
            exec(command[1], {"__name__": "__main__"})
        else:
            runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def as_from_a_terminal(*command):
    """The command that runs `command` with SIGINT at its default, which a shell's background jobs ignore.

    Bash traps no signal that was ignored at its start. A `preexec_fn` would do it too, but forks this process, whose
    threads (of TensorFlow, JAX and NumPy) may hold locks that the copy then waits for without end.
    """
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-S", "-c", code, *command]
