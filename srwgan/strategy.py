"""One device, all devices of a machine, or many machines: a tf.distribute strategy from flags and environment."""

import json
import os
import re

import tensorflow as tf

STRATEGIES = ("auto", "one", "mirrored", "multiworker")


def build_strategy(name="auto"):
    """The tf.distribute.Strategy for a name of `STRATEGIES`.

    "auto" is "multiworker" where TF_CONFIG or SLURM tell of several tasks, "mirrored" where there are several GPUs,
    "one" otherwise. Call it before anything else uses TensorFlow: multi-worker training has to come first.

    Raises:
        ValueError: an unknown name, or "multiworker" without a cluster.
    """
    if name not in STRATEGIES:
        raise ValueError(f"Received: strategy={name}. Expected one of {', '.join(STRATEGIES)}.")
    cluster = cluster_config(os.environ)
    gpus = tf.config.list_physical_devices("GPU") if not cluster else []
    if name == "auto":
        name = "multiworker" if cluster else "mirrored" if len(gpus) > 1 else "one"
    if name == "multiworker":
        return multi_worker(cluster)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(
            "GPU" if tf.config.list_physical_devices("GPU") else "CPU")])
    return tf.distribute.get_strategy()


def multi_worker(cluster):
    if not cluster:
        raise ValueError("Received: strategy=multiworker without a cluster. "
                         "Expected TF_CONFIG, or SLURM's SLURM_NTASKS of 2 or more.")
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    # Without GPUs collectives go over gRPC ("ring"); with them, NCCL.
    options = tf.distribute.experimental.CommunicationOptions()
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


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


def cluster_config(environment):
    """TF_CONFIG as a dict: as given, or built from SLURM's variables; None with a single task."""
    if environment.get("TF_CONFIG"):
        try:
            return json.loads(environment["TF_CONFIG"])
        except ValueError as error:
            raise ValueError(f"Received: TF_CONFIG={environment['TF_CONFIG']}. Expected JSON.") from error
    tasks = int(environment.get("SLURM_NTASKS") or 1)
    if tasks < 2 or "SLURM_PROCID" not in environment:
        return None
    return slurm_cluster(environment, tasks)


def slurm_cluster(environment, tasks):
    """A worker for each SLURM task, in the order of their ranks.

    TensorFlow's own resolver needs nvidia-smi on the node and sorts node10 before node2.
    """
    hosts = expand_node_list(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    counts = expand_task_counts(environment.get("SLURM_STEP_TASKS_PER_NODE")
                                or environment.get("SLURM_TASKS_PER_NODE", "1"), len(hosts))
    base = int(environment.get("SRWGAN_PORT") or 20000 + int(environment.get("SLURM_JOB_ID") or 0) % 20000)
    workers = [f"{host}:{base + i}" for host, count in zip(hosts, counts, strict=True) for i in range(count)]
    if len(workers) != tasks:
        raise ValueError(f"Received: SLURM_NTASKS={tasks} on {len(workers)} places of {hosts}. "
                         "Expected the same number, and srun's default (block) distribution.")
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


def expand_task_counts(text, nodes):
    """SLURM's "2(x3),1" -> [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        count, repeat = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part).groups()
        counts += [int(count)] * int(repeat or 1)
    return counts[:nodes]
