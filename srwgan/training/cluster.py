"""The workers of a run on several machines, as TF_CONFIG or SLURM describes them. It needs no TensorFlow."""

import json
import re
from collections.abc import Mapping


def cluster_config(environment: Mapping[str, str]) -> dict | None:
    """What TF_CONFIG says, as a dict: as it is given, or built from the variables of a SLURM job step.

    Args:
        environment: the environment variables.

    Returns:
        {"cluster": {"worker": [host:port, ...]}, "task": {"type": "worker", "index": this worker's}}, or None where
        there are not two workers or more.

    Raises:
        ValueError: TF_CONFIG or the variables do not describe workers.
    """
    if environment.get("TF_CONFIG"):
        return given_cluster(environment["TF_CONFIG"])
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or 1)  # not SLURM_NTASKS, which is there without srun too
    return slurm_cluster(environment, tasks) if tasks > 1 else None


def given_cluster(text: str) -> dict | None:
    """The cluster of a TF_CONFIG; where it names a chief, that is the first worker."""
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
        index = task["index"] + (len(chiefs) if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or not 0 <= index < len(chiefs + workers):
            raise ValueError(f"task {task}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        example = {"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}
        raise ValueError(f"Received: TF_CONFIG={text} ({error}). Expected JSON like {json.dumps(example)}.") from error
    if len(chiefs + workers) < 2:
        return None
    return {"cluster": {"worker": chiefs + workers}, "task": {"type": "worker", "index": index}}


def slurm_cluster(environment: Mapping[str, str], tasks: int) -> dict:
    """The cluster of a SLURM job step: a worker for each task, in the order of their ranks.

    TensorFlow's own SlurmClusterResolver is not used. It needs nvidia-smi on the node, and sorts node10 before node2.

    The first worker of a node listens on a port that follows from the job's number, or on SRWGAN_PORT where that is
    set, and the others of the node on the ports after it.
    """
    hosts = expand_node_list(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    counts = expand_task_counts(
        environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE", "1")
    )
    base = int(environment.get("SRWGAN_PORT") or 20000 + int(environment.get("SLURM_JOB_ID") or 0) % 20000)
    if len(hosts) != len(counts) or sum(counts) != tasks:
        raise ValueError(f"Received: {tasks} SLURM tasks, {counts} on the nodes {hosts}. Expected the same number.")
    workers = [f"{host}:{base + i}" for host, count in zip(hosts, counts, strict=True) for i in range(count)]
    return {"cluster": {"worker": workers}, "task": {"type": "worker", "index": int(environment["SLURM_PROCID"])}}


def expand_node_list(text: str) -> list[str]:
    """The names in SLURM's short form, in order: "gpu[08-10,12],login1" -> gpu08, gpu09, gpu10, gpu12, login1."""
    return [name for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text) for name in expand_brackets(part)]


def expand_brackets(part: str) -> list[str]:
    bracket = re.search(r"\[([^\]]*)\]", part)
    if not bracket:
        return [part]
    numbers = []
    for piece in bracket.group(1).split(","):
        first, _, last = piece.partition("-")
        numbers += [f"{n:0{len(first)}d}" for n in range(int(first), int(last or first) + 1)]
    before, after = part[: bracket.start()], part[bracket.end() :]
    return [name for n in numbers for name in expand_brackets(before + n + after)]


def expand_task_counts(text: str) -> list[int]:
    """The numbers in SLURM's short form: "2(x3),1" -> [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        count, repeat = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part).groups()
        counts += [int(count)] * int(repeat or 1)
    return counts
