"""srwgan_train.sh on a real SLURM: see cluster.py. `python -m pytest tests/slurm --slurm` takes a few minutes."""

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import NODES, Cluster, missing_commands

ROOT = Path(__file__).resolve().parents[2]
TINY = "--datapath photos --cache cache --trainnum 4 --validnum 2 --cropsz 16 --batchsz 2 --cweight 0".split()
TINY += "--filters 4 --blocks 1 --dfilters 4".split()
UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED")
MISSING = missing_commands()
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: apt-get install slurm-wlm munge"),
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        python = Path(sys.executable).parent  # whose python3 the script takes
        running.environment["PATH"] = f"{python}:{running.environment['PATH']}"
        yield running
    assert not running.processes() and not running.folder.exists()


@pytest.fixture
def submit(cluster, tmp_path, photo_folder):  # which is tmp_path / "photos"
    """(arguments of sbatch, of the training) -> the job's number; it is submitted from tmp_path."""
    shutil.copy(ROOT / "srwgan_train.sh", tmp_path)
    (tmp_path / "train_SRWGAN.py").symlink_to(ROOT / "train_SRWGAN.py")

    def submit(options, flags):
        arguments = ["--parsable", *options, "srwgan_train.sh", *TINY, *flags]
        return cluster.run("sbatch", *arguments, cwd=tmp_path)

    return submit


def job_says(cluster, job):
    """What `scontrol show job` says, as a dict."""
    return dict(re.findall(r"(\w+)=(\S*)", cluster.run("scontrol", "show", "job", job)))


def wait_until(condition, cluster, job, output):
    """Wait for it; a job that is over by then fails the test with what it wrote."""
    while not condition():
        over = job_says(cluster, job)["JobState"] not in (*UNFINISHED, "COMPLETED")
        assert not over or condition(), output.read_text()
        time.sleep(0.5)


def last_checkpoint(run):
    """The batches done by the newest checkpoint, 0 without one."""
    return max((int(path.stem.split("-")[1]) for path in (run / "checkpoints").glob("ckpt-*.index")), default=0)


def test_a_job_whose_time_is_up_resumes_on_the_other_node_and_stays_cancelled(cluster, submit, tmp_path):
    job = submit(["--time=60"], ["--epochs", "100000"])
    output, run = tmp_path / f"srwgan-{job}.out", tmp_path / "runs" / f"slurm-{job}"
    wait_until(lambda: last_checkpoint(run), cluster, job, output)
    first = job_says(cluster, job)["NodeList"]
    cluster.run("scontrol", "update", f"NodeName={first}", "State=DRAIN", "Reason=maintenance")  # it ends what it has
    # SLURM signals 180 s before the end, as the script asks for, and checks every 30 s with as much to spare.
    minutes = 4 + int(job_says(cluster, job)["RunTime"].split(":")[1])
    cluster.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")

    wait_until(lambda: "Back into the queue" in output.read_text(), cluster, job, output)
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")  # or it would have to stop again
    stopped_at = last_checkpoint(run)
    wait_until(lambda: last_checkpoint(run) > stopped_at, cluster, job, output)
    status = job_says(cluster, job)
    assert status["JobState"] == "RUNNING" and status["Restarts"] == "1"
    assert {first, status["NodeList"]} == set(NODES)
    cluster.run("scancel", job)
    wait_until(lambda: job_says(cluster, job)["JobState"] not in UNFINISHED, cluster, job, output)
    cluster.run("scontrol", "update", f"NodeName={first}", "State=RESUME")

    text = output.read_text()
    print(text)
    assert job_says(cluster, job)["Restarts"] == "1" and text.count("Back into the queue") == 1
    assert re.search(r"train_SRWGAN.py --run-dir runs/slurm-\d+ .*train_SRWGAN.py --resume runs/slurm-\d+ ", text, re.S)
    assert f"Going on after {stopped_at} of " in text
    history = json.loads((run / "history.json").read_text())
    epochs = history["batches"] // 2  # two batches in each
    assert len(history["epochs"]["psnr"]) == epochs and history["batches"] == last_checkpoint(run) > stopped_at
    assert [int(number) for number in re.findall(r"^Epoch (\d+)/", text, re.M)] == list(range(1, epochs + 1))


def test_two_tasks_train_one_network(cluster, submit, tmp_path):
    job = submit(["--ntasks-per-node=2", "--gpus-per-task=1", "--time=60"], ["--epochs", "2", "--savemodel", "True"])
    output = tmp_path / f"srwgan-{job}.out"
    wait_until(lambda: job_says(cluster, job)["JobState"] not in UNFINISHED, cluster, job, output)
    text = output.read_text()
    print(text)
    assert job_says(cluster, job)["JobState"] == "COMPLETED", text
    assert "1 batches of 4 an epoch on 2 replica(s)" in text and text.count("Run folder:") == 1
    assert (tmp_path / "SRWGAN_Gen" / "generator.keras").exists()
