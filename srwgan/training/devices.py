"""One device, all devices of a machine, or many machines: a tf.distribute strategy from flags and environment."""

import json
import logging
import os
import re
import sys
import threading

import tensorflow as tf

STRATEGIES = ("auto", "one", "mirrored", "multiworker")
PATIENCE = 600  # seconds that workers wait for each other at the start


def build_strategy(name="auto"):
    """The tf.distribute.Strategy for a name of `STRATEGIES`.

    "auto" is "multiworker" where TF_CONFIG or a SLURM job step tell of several tasks, "mirrored" where there are
    several GPUs, "one" otherwise. Call it before anything else uses TensorFlow, as multi-worker training demands.

    Raises:
        ValueError: an unknown name, or "multiworker" without a cluster.
    """
    if name not in STRATEGIES:
        raise ValueError(f"Received: strategy={name}. Expected one of {', '.join(STRATEGIES)}.")
    cluster = cluster_config(os.environ)
    gpus = tf.config.list_physical_devices("GPU") if not cluster else []
    if name == "auto":
        name = "multiworker" if cluster else "mirrored" if len(gpus) > 1 else "one"
    if name != "one":
        logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it tells of every collective operation
    if name == "multiworker":
        return multi_worker(cluster)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(
            [
                device.name
                for device in tf.config.list_logical_devices("GPU" if tf.config.list_physical_devices("GPU") else "CPU")
            ]
        )
    return tf.distribute.get_strategy()


def multi_worker(cluster):
    if not cluster:
        raise ValueError(
            "Received: strategy=multiworker without a cluster. "
            "Expected TF_CONFIG, or a job step of SLURM (srun) with 2 tasks or more."
        )
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    patience = threading.Timer(PATIENCE, give_up, [cluster])
    patience.daemon = True
    patience.start()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # returns when all workers are there
    patience.cancel()
    return strategy


def give_up(cluster):
    """TensorFlow itself waits an hour, deaf to signals."""
    workers = cluster["cluster"]["worker"]
    print(
        f"Some of the {len(workers)} workers did not start within {PATIENCE // 60} minutes: {', '.join(workers)}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def is_chief(strategy):
    """Whether this process writes the files: the first worker, or the only one."""
    resolver = strategy.cluster_resolver
    return not resolver or not resolver.cluster_spec().as_dict() or resolver.task_id == 0


def worker_position(strategy):
    """(worker, workers, replicas of each worker)."""
    resolver = strategy.cluster_resolver
    workers = len(resolver.cluster_spec().as_dict().get("worker", ())) if resolver else 0
    if workers < 2:
        return 0, 1, strategy.num_replicas_in_sync
    return resolver.task_id, workers, strategy.num_replicas_in_sync // workers


def sum_over_workers(strategy, number):
    """The sum of all workers' numbers, for which it waits for all of them."""
    _, workers, replicas = worker_position(strategy)
    if workers == 1:
        return number
    mine = strategy.experimental_distribute_values_from_function(lambda context: tf.constant(number, tf.int64) + 0)
    return int(strategy.reduce(tf.distribute.ReduceOp.SUM, mine, axis=None)) // replicas


def cluster_config(environment):
    """TF_CONFIG as a dict: as given, or built from the variables of a SLURM job step; None with a single task.

    Raises:
        ValueError: TF_CONFIG or the variables do not describe workers.
    """
    if environment.get("TF_CONFIG"):
        return given_cluster(environment["TF_CONFIG"])
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or 1)  # SLURM_NTASKS is there without srun too
    return slurm_cluster(environment, tasks) if tasks > 1 else None


def given_cluster(text):
    """TF_CONFIG with its chief, where it names one, as the first worker."""
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


def slurm_cluster(environment, tasks):
    """A worker for each SLURM task, in the order of their ranks.

    TensorFlow's own resolver needs nvidia-smi on the node and sorts node10 before node2.
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


def expand_node_list(text):
    """SLURM's short form to names in order: "gpu[08-10,12],login1" -> gpu08, gpu09, gpu10, gpu12, login1."""
    return [name for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text) for name in expand_brackets(part)]


def expand_brackets(part):
    bracket = re.search(r"\[([^\]]*)\]", part)
    if not bracket:
        return [part]
    numbers = []
    for piece in bracket.group(1).split(","):
        first, _, last = piece.partition("-")
        numbers += [f"{n:0{len(first)}d}" for n in range(int(first), int(last or first) + 1)]
    before, after = part[: bracket.start()], part[bracket.end() :]
    return [name for n in numbers for name in expand_brackets(before + n + after)]


def expand_task_counts(text):
    """SLURM's "2(x3),1" -> [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        count, repeat = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part).groups()
        counts += [int(count)] * int(repeat or 1)
    return counts
