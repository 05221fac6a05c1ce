"""srwgan_train.sh with stand-ins for SLURM's commands and for Python on the PATH."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forked import as_from_a_terminal
from tests.waiting import LIMIT, until

ROOT = str(Path(__file__).resolve().parents[2])
SCRIPT = os.path.join(ROOT, "srwgan_train.sh")
STAND_INS = {
    # The training: it notes its arguments and ends with 143 at SIGTERM, as train_SRWGAN.py does.
    "python3": f"""#!{sys.executable}
import os, signal, sys, time

def note(line):
    with open("calls", "a") as file:
        file.write(line + "\\n")

def stop(number, frame):
    note("checkpoint")
    sys.exit(128 + number)

note(" ".join(["python3", *sys.argv[1:]]))
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
with open("training", "w") as file:
    file.write(str(os.getpid()))
time.sleep(float(os.environ.get("TRAINING_SECONDS", 60)))
sys.exit(int(os.environ.get("TRAINING_STATUS", 0)))
""",
    # The real one kills its tasks at SIGTERM, and leaves SIGUSR1 to them, who would die of it.
    "srun": """#!/bin/bash
echo "srun $* with $SRUN_CPUS_PER_TASK CPUs" >> calls
while [[ $1 = --* ]]; do shift; done
trap 'kill -KILL "$task"' TERM
trap 'kill -USR1 "$task"' USR1
"$@" & task=$!
wait "$task"
""",
    "scancel": '#!/bin/bash\necho "scancel $*" >> calls\nkill "-${1#--signal=}" "$(cat training)"\n',
    "scontrol": '#!/bin/bash\necho "scontrol $*" >> calls\n',
}


@pytest.fixture
def script(tmp_path):
    """(arguments, **environment) -> the running script in a folder of its own."""
    for name, text in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    shutil.copy(SCRIPT, tmp_path)
    running = []

    def start(*arguments, **environment):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        variables |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **environment}
        running.append(
            subprocess.Popen(
                as_from_a_terminal("bash", str(tmp_path / "srwgan_train.sh"), *arguments),
                cwd=tmp_path,
                env=variables,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT)
        process.stdout.close()


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def wait_for_training(tmp_path):
    note = tmp_path / "training"
    until(lambda: note.exists() and note.read_text().strip(), what="the training has begun")


def test_the_script_is_sound():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    if shutil.which("shellcheck"):
        result = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


def test_it_asks_for_a_signal_and_the_queue():
    with open(SCRIPT) as file:
        options = {line.split(maxsplit=1)[1].strip() for line in file if line.startswith("#SBATCH")}
    assert {"--signal=B:USR1@180", "--requeue", "--open-mode=append"} <= options


def test_a_dry_run_outside_slurm(script, tmp_path):
    output, _ = script("--epochs", "3", "--chkpt_path", "a b", DRY_RUN="1").communicate(timeout=LIMIT)
    assert output.split() == [
        "python3",
        "train_SRWGAN.py",
        "--run-dir",
        "runs/slurm-local",
        "--epochs",
        "3",
        "--chkpt_path",
        "a\\",
        "b",
    ]
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("arguments", "folder"), [((), "runs/slurm-7"), (("--run-dir", "mine"), "mine"), (("--run-dir=mine",), "mine")]
)
def test_a_job_resumes_what_it_has_a_checkpoint_of(script, tmp_path, arguments, folder):
    def command():
        output, _ = script(*arguments, DRY_RUN="1", SLURM_JOB_ID="7").communicate(timeout=LIMIT)
        return output.split()

    assert command()[:6] == ["srun", "--kill-on-bad-exit=1", "python3", "train_SRWGAN.py", "--run-dir", folder]
    (tmp_path / folder / "checkpoints").mkdir(parents=True)
    assert command()[4:6] == ["--run-dir", folder]  # killed before the first one was whole
    (tmp_path / folder / "checkpoints" / "checkpoint").touch()
    assert command()[4:6] == ["--resume", folder]


def test_an_environment_beside_the_script_is_taken(script, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(tmp_path / "bin" / "python3", tmp_path / ".venv" / "bin" / "python")
    assert script(DRY_RUN="1").communicate(timeout=LIMIT)[0].startswith(".venv/bin/python train_SRWGAN.py")


@pytest.mark.parametrize("status", ["0", "1", "2"])
def test_the_trainings_exit_status_is_the_jobs(script, tmp_path, status):
    job = script(
        "--epochs", "3", SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="8", TRAINING_STATUS=status, TRAINING_SECONDS="0.1"
    )
    assert job.wait(LIMIT) == int(status)
    training = "python3 train_SRWGAN.py --run-dir runs/slurm-7 --epochs 3"
    assert calls(tmp_path) == [f"srun --kill-on-bad-exit=1 {training} with 8 CPUs", training]


def test_when_time_is_up_it_waits_for_a_checkpoint_and_goes_back_into_the_queue(script, tmp_path):
    job = script(SLURM_JOB_ID="7")
    wait_for_training(tmp_path)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(LIMIT) == 143
    assert calls(tmp_path)[2:] == ["scancel --signal=TERM 7", "checkpoint", "scontrol requeue 7"]


def test_a_cancelled_job_writes_its_checkpoint_and_stays_out_of_the_queue(script, tmp_path):
    job = script(SLURM_JOB_ID="7")
    wait_for_training(tmp_path)
    os.kill(job.pid, signal.SIGTERM)  # SLURM sends it to the batch shell and to the tasks
    time.sleep(0.2)
    os.kill(int((tmp_path / "training").read_text()), signal.SIGTERM)
    assert job.wait(LIMIT) == 143
    assert calls(tmp_path)[2:] == ["checkpoint"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_outside_slurm_a_signal_is_passed_on(script, tmp_path, number, status):
    job = script()
    wait_for_training(tmp_path)
    os.kill(job.pid, number)
    assert job.wait(LIMIT) == status
    assert calls(tmp_path) == ["python3 train_SRWGAN.py --run-dir runs/slurm-local", "checkpoint"]
